//! Arrays of numbers as bytes, and back: little-endian, and nothing left over.

use bytes::Bytes;
use tonic::Status;

macro_rules! array {
    ($number:ty, $encode:ident, $decode:ident) => {
        pub(crate) fn $encode(values: &[$number]) -> Bytes {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            bytes.into()
        }

        pub(crate) fn $decode(bytes: &[u8]) -> Result<Vec<$number>, Status> {
            let (numbers, rest) = bytes.as_chunks();
            if !rest.is_empty() {
                return Err(Status::invalid_argument("an array is cut off"));
            }
            Ok(numbers
                .iter()
                .map(|bytes| <$number>::from_le_bytes(*bytes))
                .collect())
        }
    };
}

array!(f32, from_f32, to_f32);
array!(f64, from_f64, to_f64);
array!(i64, from_i64, to_i64);
array!(u32, from_u32, to_u32);
array!(u64, from_u64, to_u64);

pub(crate) fn from_u128(value: u128) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

pub(crate) fn to_u128(bytes: &[u8]) -> Result<u128, Status> {
    let bytes = bytes.try_into();
    bytes
        .map(u128::from_le_bytes)
        .map_err(|_| Status::invalid_argument("a total is cut off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back() {
        let values = [0.0, -1.5, f64::MAX];
        assert_eq!(to_f64(&from_f64(&values)).unwrap(), values);
        assert_eq!(to_i64(&from_i64(&[i64::MIN, 7])).unwrap(), [i64::MIN, 7]);
        assert_eq!(to_u128(&from_u128(1 << 100)).unwrap(), 1 << 100);
        assert_eq!(to_u32(&[]).unwrap(), [0; 0]);
    }

    #[test]
    fn cut_off_arrays_are_refused() {
        assert!(to_f64(&[0; 9]).is_err());
        assert!(to_u128(&[0; 15]).is_err());
    }
}
