//! SHA-256, one block at a time, in plain Rust (FIPS 180-4).
//!
//! Everything that happens once for many nonces is done here: midstates, the rounds before
//! the first varying word, the check of a candidate. The kernels repeat the same rounds for
//! many nonces at once.

/// The chaining value between two blocks.
pub(crate) type State = [u32; 8];
/// A block as big-endian words.
pub(crate) type Block = [u32; 16];

/// The chaining value before the first block.
pub(crate) const INITIAL: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The round constants.
pub(crate) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// The small sigma of the words 15 back.
pub(crate) const fn small_sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

/// The small sigma of the words 2 back.
pub(crate) const fn small_sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

/// One round; `keyed` is the word of the schedule plus the round's constant.
const fn round(v: State, keyed: u32) -> State {
    let [a, b, c, d, e, f, g, h] = v;
    let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let choice = (e & f) ^ (!e & g);
    let first = h
        .wrapping_add(sigma1)
        .wrapping_add(choice)
        .wrapping_add(keyed);
    let sigma0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    let majority = (a & b) ^ (a & c) ^ (b & c);
    let second = sigma0.wrapping_add(majority);
    [
        first.wrapping_add(second),
        a,
        b,
        c,
        d.wrapping_add(first),
        e,
        f,
        g,
    ]
}

/// The first `count` rounds, of at most 16, without what follows them.
pub(crate) fn first_rounds(state: State, block: &Block, count: usize) -> State {
    let keyed = block.iter().zip(K).take(count);
    keyed.fold(state, |v, (word, k)| round(v, word.wrapping_add(k)))
}

/// The words of all rounds, each plus the round's constant.
pub(crate) fn keyed_schedule(block: &Block) -> [u32; 64] {
    let mut w = [0; 64];
    w[..16].copy_from_slice(block);
    for t in 16..64 {
        w[t] = small_sigma1(w[t - 2])
            .wrapping_add(w[t - 7])
            .wrapping_add(small_sigma0(w[t - 15]))
            .wrapping_add(w[t - 16]);
    }
    core::array::from_fn(|t| w[t].wrapping_add(K[t]))
}

/// The chaining value after one more block.
pub(crate) fn compress(state: State, block: &Block) -> State {
    let v = keyed_schedule(block).into_iter().fold(state, round);
    core::array::from_fn(|at| v[at].wrapping_add(state[at]))
}

/// A block from its 64 bytes.
pub(crate) fn block(bytes: &[u8; 64]) -> Block {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_be_bytes(bytes.try_into().expect("chunks of four"));
    }
    words
}

/// Takes the whole blocks at the front of `bytes`; returns the state and what is left.
pub(crate) fn absorb(mut state: State, bytes: &[u8]) -> (State, &[u8]) {
    let (blocks, rest) = bytes.as_chunks::<64>();
    for bytes in blocks {
        state = compress(state, &block(bytes));
    }
    (state, rest)
}

/// The digest as bytes.
pub(crate) fn to_bytes(state: State) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}
