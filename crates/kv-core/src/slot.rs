//! Which of the 16,384 hash slots a key belongs to.
//!
//! The same function as Redis Cluster's, so that cluster clients route by themselves:
//! CRC16 (XMODEM) of the key, or of the part between the first `{` and the next `}` if
//! that part is not empty (a *hash tag*), modulo 16,384.

/// The number of hash slots.
pub const SLOT_COUNT: u16 = 16_384;

/// The polynomial of CRC16/XMODEM, most significant bit first.
const POLYNOMIAL: u16 = 0x1021;

/// `CRC_TABLES[k][b]` is the CRC of byte `b` followed by `k` zero bytes: eight bytes of
/// a key cost eight independent look-ups instead of a chain of eight.
static CRC_TABLES: [[u16; 256]; 8] = crc_tables();

const fn crc_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0_u16; 256]; 8];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ POLYNOMIAL
            };
            bit += 1;
        }
        tables[0][byte as usize] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut index = 0;
        while index < 256 {
            let crc = tables[table - 1][index];
            tables[table][index] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            index += 1;
        }
        table += 1;
    }
    tables
}

/// CRC16/XMODEM: polynomial 0x1021, initial value 0, nothing reflected.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let [high, low] = crc.to_be_bytes();
        crc = CRC_TABLES[7][usize::from(chunk[0] ^ high)]
            ^ CRC_TABLES[6][usize::from(chunk[1] ^ low)]
            ^ CRC_TABLES[5][usize::from(chunk[2])]
            ^ CRC_TABLES[4][usize::from(chunk[3])]
            ^ CRC_TABLES[3][usize::from(chunk[4])]
            ^ CRC_TABLES[2][usize::from(chunk[5])]
            ^ CRC_TABLES[1][usize::from(chunk[6])]
            ^ CRC_TABLES[0][usize::from(chunk[7])];
    }
    for &byte in rest {
        let [high, _] = crc.to_be_bytes();
        crc = (crc << 8) ^ CRC_TABLES[0][usize::from(high ^ byte)];
    }
    crc
}

/// The part of a key that decides its slot: the first non-empty `{..}`, else all of it.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let tail = &key[open + 1..];
    match tail.iter().position(|&byte| byte == b'}') {
        Some(length) if length > 0 => &tail[..length],
        _ => key,
    }
}

/// The hash slot of a key, below [`SLOT_COUNT`].
#[must_use]
pub fn hash_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_of_crcs() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn eight_bytes_at_a_time_equals_one_bit_at_a_time() {
        let mut prng = stdx::Prng::from_seed(1);
        for length in 0..70 {
            let mut bytes = vec![0; length];
            prng.fill(&mut bytes);
            let mut crc = 0_u16;
            for &byte in &bytes {
                crc ^= u16::from(byte) << 8;
                for _ in 0..8 {
                    crc = if crc & 0x8000 == 0 {
                        crc << 1
                    } else {
                        (crc << 1) ^ POLYNOMIAL
                    };
                }
            }
            assert_eq!(crc16(&bytes), crc, "length {length}");
        }
    }

    #[test]
    fn slots_of_keys_as_redis_cluster_gives_them() {
        // From `CLUSTER KEYSLOT` of redis-server.
        for (key, slot) in [
            ("foo", 12_182),
            ("bar", 5_061),
            ("hello", 866),
            ("123456789", 12_739),
        ] {
            assert_eq!(hash_slot(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_non_empty_tag_counts() {
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{", "foo}bar{"),
            ("{}", "{}"),
            ("", ""),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
        assert_eq!(hash_slot(b"foo{bar}"), hash_slot(b"bar"));
        assert_eq!(hash_slot(b"{bar}.x"), hash_slot(b"{bar}.y"));
    }
}
