//! `kontiki kmeans`: clusters of points, with mappers and reducers as processes.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kmeans::output::Results;
use kmeans::remote::{Setup, WorkerConfig};
use kmeans::{Dataset, Event, Init, Options, Outcome};

use crate::error::Hint;

#[derive(Args, Clone, Debug)]
pub(crate) struct KmeansArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Find the clusters of points in files.
    ///
    /// Starts mappers and reducers as processes on this machine, unless addresses of running
    /// ones are given. Mappers read their ranges of the input themselves. The result is the
    /// same, bit for bit, for any number of mappers, reducers and threads, and whatever fails
    /// on the way.
    Run(Box<RunArgs>),
    /// Assign points to centroids that were found before: a line with an index for each point.
    Predict(PredictArgs),
    /// Run a mapper or a reducer by hand. It serves whatever master calls it.
    Worker(WorkerArgs),
}

#[derive(Args, Clone, Debug)]
struct RunArgs {
    /// Points: files, directories, patterns, or URLs (`s3://`, `gs://`, `az://`), of CSV (`x, y` and
    /// any dimension, also packed), .npy or Parquet.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<String>,
    /// How many clusters.
    #[arg(short, long, value_name = "N")]
    k: usize,
    /// Parts of the input, each with a mapper process [default: one for each processor].
    #[arg(long, value_name = "M")]
    mappers: Option<usize>,
    /// Reducer processes; centroid number c belongs to reducer c modulo R.
    #[arg(long, default_value_t = 1, value_name = "R")]
    reducers: usize,
    /// Stop after so many iterations at the latest.
    #[arg(long, default_value_t = 300, value_name = "N")]
    max_iterations: u32,
    /// Stop when the centroids move, squared and summed, by no more than this share of the mean
    /// variance of a coordinate. 0 goes on until nothing changes.
    #[arg(long, default_value_t = 1e-4, value_name = "T")]
    tolerance: f64,
    /// All chance comes from this number.
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// First centroids: `k-means||`, `k-means++`, `random`, `first`, or a file with k points.
    #[arg(long, default_value = "k-means||")]
    init: Init,
    /// Run it all so often, each time from another start, and keep the best.
    #[arg(long, default_value_t = 1, value_name = "N")]
    n_init: u32,
    /// Use about so many points in an iteration instead of all.
    #[arg(long, value_name = "POINTS")]
    mini_batch: Option<u64>,
    /// Where the results go.
    #[arg(long, default_value = "kmeans-out", value_name = "DIR")]
    output: PathBuf,
    /// Also write `dump.txt` and Data/ with the files of every mapper and reducer here, and say
    /// on the terminal what is called and answered. Slow: for small data.
    #[arg(long, value_name = "DIR")]
    compat_dir: Option<PathBuf>,
    /// Use mappers that were started by hand: `host:port`, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    mapper_at: Vec<String>,
    /// Use reducers that were started by hand.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    reducer_at: Vec<String>,
    /// Threads of a mapper [default: the processors divided by the mappers].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Replace a worker that has been silent for so many seconds.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    worker_timeout: u64,
    #[command(flatten)]
    hooks: Hooks,
}

/// For tests of what happens when workers fail.
#[derive(Args, Clone, Debug)]
struct Hooks {
    /// Instructions to use; all give the same result.
    #[arg(long, hide = true, default_value = "auto")]
    isa: String,
    /// Mappers and reducers report that they failed with this probability.
    #[arg(
        long,
        hide = true,
        default_value_t = 0.0,
        env = "KONTIKI_KMEANS_FAIL_PROBABILITY"
    )]
    fail_probability: f64,
    /// Mappers and reducers hold every answer back so long.
    #[arg(
        long,
        hide = true,
        default_value_t = 0,
        env = "KONTIKI_KMEANS_DELAY_MS"
    )]
    delay_ms: u64,
    /// A mapper ends itself when its sums are fetched for the Nth time.
    #[arg(long, hide = true, value_name = "N")]
    die_at_fetch: Option<u32>,
}

#[derive(Args, Clone, Debug)]
struct PredictArgs {
    /// The file that `run` wrote.
    #[arg(long, default_value = "kmeans-out/centroids.csv", value_name = "FILE")]
    centroids: String,
    /// Points, as for `run`.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<String>,
    /// Write to a file instead of the terminal.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct WorkerArgs {
    /// Where to listen; port 0 takes any and prints it.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Threads for a part of the input.
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// Stop when the standard input ends.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
    #[command(flatten)]
    hooks: Hooks,
}

pub(crate) async fn run(args: KmeansArgs) -> Result<ExitCode> {
    match args.command {
        Command::Run(args) => job(*args).await,
        Command::Predict(args) => predict(&args),
        Command::Worker(args) => worker(args).await,
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn isa_of(hooks: &Hooks) -> Result<kmeans::Isa> {
    let isa = hooks.isa.parse();
    isa.map_err(|what| anyhow!("--isa {} {what}", hooks.isa))
}

fn inspect(input: &[String]) -> Result<Dataset> {
    Dataset::inspect(input).context(Hint::new(
        "the input can't be used",
        "points are lines of numbers such as `0.4, 7.2`, all of one length, a .npy matrix, or Parquet",
    ))
}

async fn job(args: RunArgs) -> Result<ExitCode> {
    let by_hand = args.mapper_at.len();
    let mappers = args
        .mappers
        .unwrap_or_else(|| if by_hand > 0 { by_hand } else { processors() });
    let options = Options {
        k: args.k,
        mappers,
        reducers: args.reducers,
        max_iterations: args.max_iterations,
        tolerance: args.tolerance,
        seed: args.seed,
        init: args.init.clone(),
        restarts: args.n_init,
        mini_batch: args.mini_batch,
    };
    options.validate().map_err(|what| anyhow!("--{what}"))?;
    let setup = Setup {
        program: std::env::current_exe().context("cannot find this program to start workers")?,
        mapper_addresses: args.mapper_at.clone(),
        reducer_addresses: args.reducer_at.clone(),
        threads: args
            .threads
            .unwrap_or_else(|| (processors() / mappers).max(1)),
        lease: Duration::from_secs(args.worker_timeout.max(1)),
        isa: isa_of(&args.hooks)?,
        fail_probability: args.hooks.fail_probability,
        delay: Duration::from_millis(args.hooks.delay_ms),
        die_at_fetch: args.hooks.die_at_fetch,
        compat_directory: args.compat_dir.clone(),
    };
    let dataset = inspect(&args.input)?;
    let mut results = Results::create(&args.output, args.k, dataset.is_binary())?;
    let progress = Progress::new(&options, args.compat_dir.is_some());
    let mut observer = |event: Event<'_>| progress.on(&event);
    let mut sink = |centers: &[u32]| results.assign(centers);
    let run = kmeans::remote::run(&dataset, &options, &setup, &mut observer, &mut sink);
    let outcome = run.await;
    progress.bar.finish_and_clear();
    let outcome = outcome?;
    let files = results.finish(&outcome, &options)?;
    report(&outcome, &options, &args.output, &files)?;
    Ok(ExitCode::SUCCESS)
}

/// What a person wants to know first.
fn report(
    outcome: &Outcome,
    options: &Options,
    output: &std::path::Path,
    files: &[PathBuf],
) -> Result<()> {
    let mut text = format!(
        "{} points of {} coordinates, {} clusters\n",
        outcome.rows, outcome.dimension, options.k
    );
    let ended = if outcome.converged {
        "converged after"
    } else {
        "stopped after"
    };
    text.push_str(&format!(
        "{ended} {} iterations, inertia {}\n{:.1} ms in all iterations\n",
        outcome.iterations.len(),
        outcome.inertia,
        outcome.iterating.as_secs_f64() * 1e3
    ));
    if options.restarts > 1 {
        let (best, of) = (outcome.best_run, options.restarts);
        text.push_str(&format!("run {best} of {of} was the best\n"));
    }
    for iteration in outcome
        .iterations
        .iter()
        .filter(|it| !it.reseeded.is_empty())
    {
        text.push_str(&format!(
            "iteration {}: empty clusters {:?} got the points farthest from their centroids\n",
            iteration.iteration, iteration.reseeded
        ));
    }
    if let Some(last) = outcome
        .iterations
        .last()
        .filter(|last| !last.empty.is_empty())
    {
        text.push_str(&format!(
            "clusters {:?} are empty: there are fewer different points than clusters\n",
            last.empty
        ));
    }
    let names = files.iter().filter_map(|path| path.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    text.push_str(&format!("in {}: {}\n", output.display(), names.join(", ")));
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A bar over the iterations, with the inertia; nothing if nobody looks.
struct Progress {
    bar: ProgressBar,
    max_iterations: u64,
}

impl Progress {
    fn new(options: &Options, others_print: bool) -> Self {
        let bar = ProgressBar::new(u64::from(options.max_iterations));
        if others_print || !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("reading");
        Self {
            bar,
            max_iterations: u64::from(options.max_iterations),
        }
    }

    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Loaded { rows, dimension } => {
                self.bar
                    .set_message(format!("{rows} points of {dimension} coordinates, seeding"));
            }
            Event::Seeded { run, .. } => {
                self.bar.set_length(self.max_iterations);
                self.bar.set_position(0);
                self.bar.set_message(format!("run {run}"));
            }
            Event::Iterated { run, report, .. } => {
                self.bar.set_position(u64::from(report.iteration));
                let inertia = report
                    .inertia
                    .map(|inertia| format!(", inertia {inertia:.6e}"));
                let (inertia, shift) = (inertia.unwrap_or_default(), report.shift);
                self.bar
                    .set_message(format!("run {run}{inertia}, moved by {shift:.2e}"));
            }
        }
    }
}

fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let (dimension, centers) = kmeans::read_small(&args.centroids).context(Hint::new(
        "the centroids can't be used",
        "give the centroids.csv that `kontiki kmeans run` wrote with --centroids",
    ))?;
    let dataset = inspect(&args.input)?;
    let isa = kmeans::Isa::detect();
    let found = kmeans::predict(&dataset, (dimension, &centers), processors(), isa)?;
    let mut text = String::with_capacity(found.assigned.len() * 4);
    for center in &found.assigned {
        text.push_str(&format!("{center}\n"));
    }
    match &args.output {
        Some(path) => std::fs::write(path, text).with_context(|| path.display().to_string())?,
        None => io::stdout().write_all(text.as_bytes())?,
    }
    eprintln!("{} points, inertia {}", found.assigned.len(), found.inertia);
    Ok(ExitCode::SUCCESS)
}

async fn worker(args: WorkerArgs) -> Result<ExitCode> {
    let config = WorkerConfig {
        listen: args.listen,
        threads: args.threads.max(1),
        isa: isa_of(&args.hooks)?,
        fail_probability: args.hooks.fail_probability,
        delay: Duration::from_millis(args.hooks.delay_ms),
        die_at_fetch: args.hooks.die_at_fetch,
    };
    let parent_gone = async {
        if args.exit_with_stdin {
            closed_input().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let ready = |address: SocketAddr| println!("listening on {address}");
    tokio::select! {
        served = kmeans::remote::serve(config, ready, std::future::pending()) => {
            served.with_context(|| format!("cannot serve at {}", args.listen))?;
        }
        () = parent_gone => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the end of the standard input, on a thread of its own: reading can't be cancelled.
async fn closed_input() {
    let (closed, end) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {}
        // Nobody waits any longer if the server has ended by itself.
        closed.send(()).unwrap_or(());
    });
    end.await.unwrap_or(());
}
