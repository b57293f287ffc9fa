//! Which instructions to hash with: what the processor has, and what is fastest on it.

use core::fmt;
use core::hint::black_box;
use core::str::FromStr;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::bitcoin::{Header, Target};
use crate::cmu::Message;
use crate::simd::Instructions;

/// A way to hash that this processor is able to run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Kernel(Instructions);

/// What is searched for: the kernels differ in how well they do each.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Problem {
    /// The smallest hash of a message and a nonce.
    #[default]
    Cmu,
    /// A header whose double hash meets a target.
    Bitcoin,
}

/// A kernel's measured speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Which one.
    pub kernel: Kernel,
    /// Nonces per second on one core.
    pub per_second: f64,
}

/// A kernel that can't be had.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KernelError {
    /// The name means nothing.
    #[error("no kernel is called {0:?}: there are portable, avx2, avx512 and sha-ni")]
    Unknown(String),
    /// The processor lacks the instructions.
    #[error("this processor can't run the kernel {0}")]
    Unsupported(&'static str),
}

const ALL: [Instructions; 4] = [
    Instructions::Portable,
    Instructions::Avx2,
    Instructions::Avx512,
    Instructions::ShaNi,
];

impl Kernel {
    /// The one that runs everywhere.
    pub const PORTABLE: Self = Self(Instructions::Portable);

    /// All that this processor can run.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let here = ALL.into_iter().filter(|kernel| kernel.are_here());
        here.map(Self).collect()
    }

    /// Measures all kernels for about `span` each and returns them, the fastest first.
    ///
    /// The best of several short rounds counts, so that another process that runs in
    /// between does not decide.
    #[must_use]
    pub fn measure(problem: Problem, span: Duration) -> Vec<Speed> {
        const ROUNDS: u32 = 5;
        let mut speeds: Vec<Speed> = Self::all()
            .into_iter()
            .map(|kernel| Speed {
                kernel,
                per_second: 0.0,
            })
            .collect();
        for _ in 0..ROUNDS {
            for speed in &mut speeds {
                let found = speed.kernel.speed(problem, span / ROUNDS);
                speed.per_second = speed.per_second.max(found);
            }
        }
        speeds.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
        speeds
    }

    /// The fastest on this processor, by a measurement of about a tenth of a second.
    #[must_use]
    pub fn fastest(problem: Problem) -> Self {
        let speeds = Self::measure(problem, Duration::from_millis(25));
        speeds.first().map_or(Self::PORTABLE, |speed| speed.kernel)
    }

    /// Nonces per second over about `span`.
    fn speed(self, problem: Problem, span: Duration) -> f64 {
        const BATCH: u32 = 20_000;
        let message = Message::new(b"how fast is this kernel");
        let header = Header::new([7; 80]);
        let target = Target::from_bits(0x0300_0001).expect("one is a target");
        let start = Instant::now();
        let mut hashed = 0_u32;
        loop {
            match problem {
                Problem::Cmu => {
                    let first = 1_000_000_000 + u64::from(hashed);
                    let nonces = first..=first + u64::from(BATCH - 1);
                    black_box(message.minimum(self, black_box(nonces)));
                }
                Problem::Bitcoin => {
                    let nonces = hashed..=hashed + (BATCH - 1);
                    black_box(header.search(self, target, black_box(nonces)));
                }
            }
            hashed += BATCH;
            let elapsed = start.elapsed();
            if elapsed >= span || hashed > u32::MAX / 2 {
                return f64::from(hashed) / elapsed.as_secs_f64();
            }
        }
    }

    /// What the name of the instructions is on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        name(self.0)
    }

    pub(crate) const fn instructions(self) -> Instructions {
        self.0
    }
}

const fn name(instructions: Instructions) -> &'static str {
    match instructions {
        Instructions::Portable => "portable",
        Instructions::Avx2 => "avx2",
        Instructions::Avx512 => "avx512",
        Instructions::ShaNi => "sha-ni",
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = ALL.into_iter().find(|kernel| name(*kernel) == text);
        match known {
            None => Err(KernelError::Unknown(text.to_owned())),
            Some(kernel) if kernel.are_here() => Ok(Self(kernel)),
            Some(kernel) => Err(KernelError::Unsupported(name(kernel))),
        }
    }
}
