//! Whole numbers of any size, as far as reading and printing decimals needs them.

/// A whole number of any size, in limbs of 32 bits from the lowest.
#[derive(Clone, Debug, Default)]
pub(super) struct Big {
    // Invariant: the last limb is not zero.
    limbs: Vec<u32>,
}

impl Big {
    pub(super) fn from(number: u64) -> Self {
        let mut big = Self::default();
        let (high, low) = split(number);
        big.limbs.extend([low, high]);
        big.trim();
        big
    }

    pub(super) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn bit_len(&self) -> u32 {
        let Some(last) = self.limbs.last() else {
            return 0;
        };
        let limbs =
            u32::try_from(self.limbs.len()).expect("numbers here have a few thousand limbs");
        limbs * 32 - last.leading_zeros()
    }

    pub(super) fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.limbs {
            let (high, low) = split(u64::from(*limb) * u64::from(factor) + carry);
            *limb = low;
            carry = u64::from(high);
        }
        self.limbs.push(split(carry).1);
        self.trim();
    }

    pub(super) fn multiply(&self, other: &Self) -> Self {
        let mut limbs = vec![0_u32; self.limbs.len() + other.limbs.len()];
        for (i, &a) in self.limbs.iter().enumerate() {
            let mut carry = 0;
            for (j, &b) in other.limbs.iter().enumerate() {
                let sum = u64::from(a) * u64::from(b) + u64::from(limbs[i + j]) + u64::from(carry);
                (carry, limbs[i + j]) = split(sum);
            }
            limbs[i + other.limbs.len()] = carry;
        }
        let mut product = Self { limbs };
        product.trim();
        product
    }

    pub(super) fn shift_left(&mut self, bits: u32) {
        let (limbs, bits) = (bits / 32, bits % 32);
        self.multiply_add(1 << bits, 0);
        if !self.is_zero() {
            self.limbs.splice(0..0, (0..limbs).map(|_| 0));
        }
    }

    /// The highest 128 bits, how far they were shifted right, and whether bits were lost.
    pub(super) fn top_bits(&self) -> (u128, i32, bool) {
        let skipped = self.limbs.len().saturating_sub(4);
        let top = self.limbs[skipped..]
            .iter()
            .rev()
            .fold(0, |bits, &limb| bits << 32 | u128::from(limb));
        let inexact = self.limbs[..skipped].iter().any(|&limb| limb != 0);
        let shift = i32::try_from(skipped * 32).expect("numbers here have a few thousand limbs");
        (top, shift, inexact)
    }

    /// At least 66 bits of the quotient, its exponent, and whether a remainder is left.
    pub(super) fn divide(mut self, mut divisor: Self) -> (u128, i32, bool) {
        const QUOTIENT_BITS: i32 = 66;
        let length = |big: &Self| i32::try_from(big.bit_len()).expect("a few thousand limbs");
        let shift = length(&divisor) - length(&self) + QUOTIENT_BITS;
        if shift >= 0 {
            self.shift_left(shift.unsigned_abs());
        } else {
            divisor.shift_left(shift.unsigned_abs());
        }
        // Long division in base 2: the quotient has 66 or 67 bits.
        let steps = u32::try_from(QUOTIENT_BITS).expect("it is positive") + 1;
        divisor.shift_left(steps);
        let mut quotient = 0_u128;
        for _ in 0..=steps {
            quotient <<= 1;
            if self.subtract_if_not_less(&divisor) {
                quotient |= 1;
            }
            self.shift_left(1);
        }
        (quotient, -shift, !self.is_zero())
    }

    fn subtract_if_not_less(&mut self, other: &Self) -> bool {
        let less = self
            .limbs
            .len()
            .cmp(&other.limbs.len())
            .then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()));
        if less == core::cmp::Ordering::Less {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let subtrahend = other.limbs.get(index).copied().unwrap_or(0);
            let (first, one) = limb.overflowing_sub(subtrahend);
            let (second, two) = first.overflowing_sub(u32::from(borrow));
            *limb = second;
            borrow = one || two;
        }
        self.trim();
        true
    }

    pub(super) fn to_decimal(&self) -> String {
        const CHUNK: u64 = 1_000_000_000;
        let mut number = self.clone();
        let mut chunks = Vec::new();
        while !number.is_zero() {
            let mut remainder = 0;
            for limb in number.limbs.iter_mut().rev() {
                let dividend = remainder << 32 | u64::from(*limb);
                *limb = split(dividend / CHUNK).1;
                remainder = dividend % CHUNK;
            }
            number.trim();
            chunks.push(remainder);
        }
        let Some(first) = chunks.pop() else {
            return "0".to_owned();
        };
        chunks
            .iter()
            .rev()
            .fold(first.to_string(), |text, chunk| format!("{text}{chunk:09}"))
    }
}

/// The high and low half.
fn split(number: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}
