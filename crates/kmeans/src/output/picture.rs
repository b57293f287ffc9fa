//! The two pictures, as SVG: where the points are, and how the inertia fell.

use std::fmt::Write as _;

use kmeans_kernels::{Centroids, Isa, Points, for_each_block};

use super::plane::Plane;
use crate::job::Outcome;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 620.0;
const MARGIN: f64 = 64.0;
/// So many steps of the golden angle give colours that neighbours can be told by.
const HUE_STEP: f64 = 137.508;

pub(super) struct Plot<'a> {
    outcome: &'a Outcome,
    plane: Plane,
    /// The centroid of each point of the sample.
    assigned: Vec<u32>,
}

impl<'a> Plot<'a> {
    pub(super) fn of(outcome: &'a Outcome) -> Self {
        let dimension = outcome.dimension;
        // As in the job: far from the origin, differences need their digits.
        let origin = &outcome.sample[..dimension.min(outcome.sample.len())];
        let centred = |values: &[f64]| -> Vec<f64> {
            values
                .iter()
                .zip(origin.iter().cycle())
                .map(|(x, o)| x - o)
                .collect()
        };
        let points = Points::from_f64(dimension, &centred(&outcome.sample));
        let centroids = Centroids::new(dimension, &centred(&outcome.centers));
        let mut assigned = Vec::with_capacity(points.rows());
        for_each_block(
            Isa::detect(),
            &points,
            points.ids(),
            &centroids,
            |_, block| {
                assigned.extend_from_slice(block.indexes());
            },
        );
        Self {
            outcome,
            plane: Plane::of(&outcome.sample, dimension),
            assigned,
        }
    }

    /// A sample of the points in the colours of their centroids.
    pub(super) fn scatter(&self) -> String {
        let Outcome {
            dimension,
            rows,
            counts,
            ..
        } = self.outcome;
        let project = |values: &[f64]| -> Vec<[f64; 2]> {
            values
                .chunks_exact(*dimension)
                .map(|row| self.plane.project(row))
                .collect()
        };
        let (points, centers) = (
            project(&self.outcome.sample),
            project(&self.outcome.centers),
        );
        let all = || points.iter().chain(&centers);
        let x = Axis::of(all().map(|p| p[0]), MARGIN, WIDTH - MARGIN / 2.0);
        let y = Axis::of(all().map(|p| p[1]), HEIGHT - MARGIN, MARGIN);
        let (shown, k) = (points.len(), counts.len());
        let (names, note) = if *dimension > 2 {
            let share = 100.0 * self.plane.share;
            let note = format!(", {share:.0} % of the variance in view");
            (
                ["first principal component", "second principal component"],
                note,
            )
        } else {
            (["x", "y"], String::new())
        };
        let title = format!("{k} clusters of {rows} points ({shown} shown{note})");
        let mut svg = frame(&title, names, &x, &y);
        for ([px, py], &center) in points.iter().zip(&self.assigned) {
            dot(&mut svg, (x.at(*px), y.at(*py)), 2.0, center);
        }
        for (center, [px, py]) in (0u32..).zip(&centers) {
            let (cx, cy) = (x.at(*px), y.at(*py));
            writeln!(
                svg,
                "<circle cx='{cx:.1}' cy='{cy:.1}' r='6' fill='{}' stroke='#222' stroke-width='2'>\
                 <title>centroid {center}: {} points</title></circle>",
                colour(center),
                counts[center as usize]
            )
            .expect("writing to a string cannot fail");
        }
        svg + "</svg>\n"
    }

    /// The inertia after every iteration.
    pub(super) fn convergence(&self) -> String {
        let history = &self.outcome.iterations;
        let known = history
            .iter()
            .filter_map(|it| Some((f64::from(it.iteration), it.inertia?)));
        let mut series: Vec<(f64, f64)> = known.collect();
        series.push((history.len() as f64 + 1.0, self.outcome.inertia));
        let x = Axis::of(
            series.iter().map(|p| p.0),
            MARGIN * 1.6,
            WIDTH - MARGIN / 2.0,
        );
        let y = Axis::of(series.iter().map(|p| p.1), HEIGHT - MARGIN, MARGIN);
        let ended = if self.outcome.converged {
            "converged"
        } else {
            "stopped"
        };
        let title = format!("inertia: {ended} after {} iterations", history.len());
        let mut svg = frame(&title, ["iteration", "inertia"], &x, &y);
        let line: Vec<String> = series
            .iter()
            .map(|p| format!("{:.1},{:.1}", x.at(p.0), y.at(p.1)))
            .collect();
        writeln!(
            svg,
            "<polyline points='{}' fill='none' stroke='{}' stroke-width='2'/>",
            line.join(" "),
            colour(0)
        )
        .expect("writing to a string cannot fail");
        for point in &series {
            dot(&mut svg, (x.at(point.0), y.at(point.1)), 3.0, 0);
        }
        svg + "</svg>\n"
    }
}

fn colour(center: u32) -> String {
    let hue = f64::from(center) * HUE_STEP % 360.0;
    let lightness = 42 + center / 12 % 3 * 9;
    format!("hsl({hue:.0},70%,{lightness}%)")
}

fn dot(svg: &mut String, (x, y): (f64, f64), radius: f64, center: u32) {
    writeln!(
        svg,
        "<circle cx='{x:.1}' cy='{y:.1}' r='{radius}' fill='{}' fill-opacity='.6'/>",
        colour(center)
    )
    .expect("writing to a string cannot fail");
}

/// Values on a line of the picture.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let ends = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = match ends {
            (low, high) if low < high => (low, high),
            (low, _) if low.is_finite() => (low - 0.5, low + 0.5),
            _ => (0.0, 1.0),
        };
        let room = (high - low) * 0.04;
        Self {
            low: low - room,
            high: high + room,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Round numbers within, about five.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let magnitude = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
        let step = steps
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.low / step).ceil();
        let ticks = (0..12).map(|at| (first + f64::from(at)) * step);
        ticks.take_while(|tick| *tick <= self.high).collect()
    }
}

/// A number on an axis: short.
fn label(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// The beginning of a picture: title, axes, grid.
fn frame(title: &str, [x_name, y_name]: [&str; 2], x: &Axis, y: &Axis) -> String {
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' \
         font-family='sans-serif' font-size='13'>\n<rect width='100%' height='100%' \
         fill='white'/>\n<text x='{}' y='32' font-size='17' text-anchor='middle'>{title}</text>\n",
        WIDTH / 2.0
    );
    for tick in x.ticks() {
        let (at, low, high, under) = (x.at(tick), y.from, y.to, y.from + 18.0);
        let text = label(tick);
        writeln!(
            svg,
            "<path d='M{at:.1} {low}V{high}' stroke='#ddd'/>\
             <text x='{at:.1}' y='{under}' text-anchor='middle'>{text}</text>"
        )
        .expect("writing to a string cannot fail");
    }
    for tick in y.ticks() {
        let (at, low, high, beside) = (y.at(tick), x.from, x.to, x.from - 6.0);
        let (text, middle) = (label(tick), at + 4.0);
        writeln!(
            svg,
            "<path d='M{low} {at:.1}H{high}' stroke='#ddd'/>\
             <text x='{beside}' y='{middle:.1}' text-anchor='end'>{text}</text>"
        )
        .expect("writing to a string cannot fail");
    }
    let (middle_x, middle_y, bottom) = (WIDTH / 2.0, HEIGHT / 2.0, HEIGHT - 16.0);
    write!(
        svg,
        "<text x='{middle_x}' y='{bottom}' text-anchor='middle'>{x_name}</text>\n\
         <text transform='translate(18 {middle_y}) rotate(-90)' text-anchor='middle'>{y_name}</text>\n"
    )
    .expect("writing to a string cannot fail");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let axis = Axis::of([0.0, 97.0].into_iter(), 0.0, 100.0);
        assert_eq!(axis.ticks(), [0.0, 50.0, 100.0]);
        let flat = Axis::of([3.0, 3.0].into_iter(), 0.0, 100.0);
        assert!(flat.ticks().contains(&3.0));
        assert!((flat.at(3.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(
            [0.0, 1.5, 1200.0, 3e7, 2e-5].map(label),
            ["0", "1.5", "1200", "3.00e7", "2.00e-5"]
        );
    }
}
