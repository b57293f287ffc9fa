//! Which instructions this processor has.

use std::fmt;
use std::str::FromStr;

/// A way to run the kernels. All of them give the same bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Isa {
    /// Plain Rust. On a processor without fused multiply-add each one is a call, and slow.
    Portable,
    /// Eight lanes: x86-64 with AVX2 and FMA.
    Avx2,
    /// Sixteen lanes: x86-64 with AVX-512 F and DQ.
    Avx512,
}

impl Isa {
    /// The widest that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        [Self::Avx512, Self::Avx2]
            .into_iter()
            .find(|isa| isa.is_here())
            .unwrap_or(Self::Portable)
    }

    /// Whether this processor can run it.
    #[must_use]
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            match self {
                Self::Portable => true,
                Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                Self::Avx512 => {
                    is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("fma")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// Every way that this processor can run.
    #[must_use]
    pub fn all_here() -> Vec<Self> {
        let all = [Self::Portable, Self::Avx2, Self::Avx512];
        all.into_iter().filter(|isa| isa.is_here()).collect()
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

impl FromStr for Isa {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let isa = match text {
            "auto" => Self::detect(),
            "portable" => Self::Portable,
            "avx2" => Self::Avx2,
            "avx512" => Self::Avx512,
            _ => return Err("is none of auto, portable, avx2, avx512"),
        };
        if isa.is_here() {
            Ok(isa)
        } else {
            Err("is not supported by this processor")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for isa in Isa::all_here() {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert!("sse9".parse::<Isa>().is_err());
        assert_eq!("auto".parse(), Ok(Isa::detect()));
    }
}
