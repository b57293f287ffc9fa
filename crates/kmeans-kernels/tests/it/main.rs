//! The kernels give what plain `f64` arithmetic gives, on every instruction set, with or
//! without bounds, for shapes that don't fill a register.

mod oracle;
mod same_bits;
