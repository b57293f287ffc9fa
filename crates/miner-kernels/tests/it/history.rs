//! Headers of Bitcoin's main chain: found again from ranges around their nonces.
//!
//! The headers are public data that every explorer shows (the first is in the source of every
//! Bitcoin node, the last is the example of the Bitcoin wiki's page on block hashing). Each is
//! proven by computation: its double SHA-256 is the block's known hash and meets the target.

use miner_kernels::{Header, Kernel};
use sha2::{Digest as _, Sha256};

struct Block {
    height: u32,
    header: &'static str,
    hash: &'static str,
}

const BLOCKS: [Block; 4] = [
    Block {
        height: 0,
        header: "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd\
                 7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
        hash: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    },
    Block {
        height: 1,
        header: "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd\
                 1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
        hash: "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    },
    Block {
        height: 100_000,
        header: "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a925\
                 2aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710",
        hash: "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
    },
    Block {
        height: 125_552,
        header: "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2\
                 fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695",
        hash: "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    },
];

#[test]
fn historical_blocks_are_found_again() {
    for block in BLOCKS {
        let header: Header = block.header.parse().unwrap();
        let mut plain: [u8; 32] = Sha256::digest(Sha256::digest(header.as_bytes())).into();
        plain.reverse();
        let plain: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(plain, block.hash, "block {}", block.height);
        assert_eq!(header.hash().to_string(), block.hash);
        let target = header.target().unwrap();
        assert!(target.is_met_by(header.hash()));

        let nonce = header.nonce();
        let around = nonce - 20_000..=nonce.saturating_add(20_000);
        // What is searched for is not in what is searched with.
        let blank = header.with_nonce(0);
        for kernel in Kernel::all() {
            assert_eq!(blank.search(kernel, target, around.clone()), Some(nonce));
        }
    }
}

#[test]
fn a_regtest_chain_is_mined() {
    let genesis = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3ed\
                   fd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4adae5494dffff7f2002000000";
    let genesis: Header = genesis.parse().unwrap();
    let known = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    assert_eq!(genesis.hash().to_string(), known);
    let mut previous = genesis;
    for height in 1..=100_u32 {
        let mut bytes = *genesis.as_bytes();
        bytes[4..36].copy_from_slice(&previous.hash().0);
        bytes[68..72].copy_from_slice(&(1_296_688_602 + height).to_le_bytes());
        let header = Header::new(bytes);
        let target = header.target().unwrap();
        let found = Kernel::all()
            .into_iter()
            .map(|kernel| header.search(kernel, target, 0..=999));
        let found: Vec<_> = found.collect();
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
        previous = header.with_nonce(found[0].expect("one in two nonces is right"));
        assert!(target.is_met_by(previous.hash()));
    }
}
