//! The rounds for one nonce in each lane of a vector.
//!
//! A macro rather than a generic function: a function may use instructions only if it is
//! itself marked with them, and neither a trait's method nor `#[inline(always)]` can be.
//! The module that uses it names its vector `V` and defines its arithmetic.

/// Repeats a macro for 0 to 15.
macro_rules! sixteen {
    ($step:ident) => {
        $step!(0);
        $step!(1);
        $step!(2);
        $step!(3);
        $step!(4);
        $step!(5);
        $step!(6);
        $step!(7);
        $step!(8);
        $step!(9);
        $step!(10);
        $step!(11);
        $step!(12);
        $step!(13);
        $step!(14);
        $step!(15);
    };
}

/// Defines `minimum` and `grind` in terms of a vector of `$lanes` words.
///
/// `minimum` is compiled once for each entry of `words`: a suffix that begins in one of these
/// words makes the words from the first to the last vary. The fewer words an entry takes
/// together, the more of the first rounds and of the schedule are settled: one word each is
/// 7 % faster than four, and four times the code.
macro_rules! lanes_kernel {
    (
        $(#[$features:meta])*
        lanes = $lanes:literal,
        words = [$($word:pat => $first:literal..=$last:literal),+ $(,)?]
    ) => {
        const LANES: usize = $lanes;

        /// The state after the rounds `FIRST..LIMIT`, when the words `FIRST..=LAST` vary.
        /// The rounds before `FIRST` were done; the caller adds the chaining value.
        $(#[$features])*
        #[inline]
        fn rounds<const FIRST: usize, const LAST: usize, const LIMIT: usize>(
            mut v: [V; 8],
            mut w: [V; 16],
            plan: &Plan,
        ) -> [V; 8] {
            macro_rules! round {
                ($keyed:expr) => {{
                    let [a, b, c, d, e, f, g, h] = v;
                    let first = add(add(h, $keyed), add(sigma1(e), choice(e, f, g)));
                    let second = add(sigma0(a), majority(a, b, c));
                    v = [add(first, second), a, b, c, add(d, first), e, f, g];
                }};
            }
            macro_rules! early {
                ($t:literal) => {
                    if $t >= FIRST {
                        if const { is_uniform(FIRST, LAST, $t) } {
                            round!(splat(plan.keyed[$t]));
                        } else {
                            round!(add(w[$t], splat(plan.keyed[$t])));
                        }
                    }
                };
            }
            macro_rules! middle {
                ($t:literal) => {
                    if const { is_uniform(FIRST, LAST, 16 + $t) } {
                        w[$t] = splat(plan.partial[$t]);
                        round!(splat(plan.keyed[16 + $t]));
                    } else {
                        let mut sum = splat(plan.partial[$t]);
                        if const { !is_uniform(FIRST, LAST, $t) } {
                            sum = add(sum, w[$t]);
                        }
                        if const { !is_uniform(FIRST, LAST, $t + 1) } {
                            sum = add(sum, small_sigma0(w[($t + 1) % 16]));
                        }
                        if const { !is_uniform(FIRST, LAST, $t + 9) } {
                            sum = add(sum, w[($t + 9) % 16]);
                        }
                        if const { !is_uniform(FIRST, LAST, $t + 14) } {
                            sum = add(sum, small_sigma1(w[($t + 14) % 16]));
                        }
                        w[$t] = sum;
                        round!(add(sum, splat(plan.keyed[16 + $t])));
                    }
                };
            }
            macro_rules! late {
                ($base:literal, $t:literal) => {
                    if $base + $t < LIMIT {
                        let old = add(w[$t], small_sigma0(w[($t + 1) % 16]));
                        let new = add(w[($t + 9) % 16], small_sigma1(w[($t + 14) % 16]));
                        w[$t] = add(old, new);
                        round!(add(w[$t], splat(K[$base + $t])));
                    }
                };
            }
            macro_rules! third {
                ($t:literal) => {
                    late!(32, $t)
                };
            }
            macro_rules! fourth {
                ($t:literal) => {
                    late!(48, $t)
                };
            }
            sixteen!(early);
            sixteen!(middle);
            sixteen!(third);
            sixteen!(fourth);
            v
        }

        /// The state after all rounds of a block that is the same for all nonces.
        $(#[$features])*
        fn settled_rounds(mut v: [V; 8], keyed: &[u32; 64]) -> [V; 8] {
            for keyed in keyed {
                let [a, b, c, d, e, f, g, h] = v;
                let first = add(add(h, splat(*keyed)), add(sigma1(e), choice(e, f, g)));
                let second = add(sigma0(a), majority(a, b, c));
                v = [add(first, second), a, b, c, add(d, first), e, f, g];
            }
            v
        }

        /// The words of a plan in every lane.
        $(#[$features])*
        #[inline]
        fn splat_all<const N: usize>(words: &[u32; N]) -> [V; N] {
            let mut all = [splat(0); N];
            for (lanes, word) in all.iter_mut().zip(words) {
                *lanes = splat(*word);
            }
            all
        }

        $(#[$features])*
        #[inline]
        fn add_all(a: [V; 8], b: [V; 8]) -> [V; 8] {
            let mut sum = a;
            for (a, b) in sum.iter_mut().zip(b) {
                *a = add(*a, b);
            }
            sum
        }

        $(#[$features])*
        pub(super) fn minimum(run: &Run, best: Option<Best>) -> Option<Best> {
            match run.word {
                $($word => minimum_from::<$first, $last>(run, best),)+
            }
        }

        $(#[$features])*
        fn minimum_from<const FIRST: usize, const LAST: usize>(
            run: &Run,
            mut best: Option<Best>,
        ) -> Option<Best> {
            let plan = Plan::new::<FIRST, LAST>(run.state, &run.block);
            // A suffix that begins in the last word can reach into the next block.
            let spill = run.spill().filter(|_| const { LAST == 15 });
            let spill = spill.map(|block| Plan::new::<0, 0>(INITIAL, &block));
            let tail = run.settled_tail().map(|block| keyed_schedule(&block));
            let early = splat_all(&plan.early);
            let state = splat_all(&plan.state);
            let words = splat_all(&plan.words);
            let mut limit = splat(Best::limit(best));
            let mut at = run.first;
            while at <= run.last {
                // The last window may begin before `at`: hashing again does no harm.
                let start = at.min(RUN - LANES);
                let here = load(&run.suffixes.here, start);
                let next = load(&run.suffixes.next, start);
                let mut w = words;
                if const { LAST - FIRST > 1 } {
                    w[run.word] = add(w[run.word], here);
                    if run.word < 15 {
                        w[run.word + 1] = add(w[run.word + 1], next);
                    }
                } else {
                    w[FIRST] = add(w[FIRST], here);
                    if const { LAST > FIRST } {
                        w[LAST] = add(w[LAST], next);
                    }
                }
                let mut hash = add_all(rounds::<FIRST, LAST, 64>(early, w, &plan), state);
                if let Some(tail) = &tail {
                    hash = add_all(settled_rounds(hash, tail), hash);
                } else if let Some(spill) = &spill {
                    let mut w = splat_all(&spill.words);
                    w[0] = add(w[0], next);
                    hash = add_all(rounds::<0, 0, 64>(hash, w, spill), hash);
                }
                let candidates = at_most(hash[0], limit);
                if candidates != 0 {
                    let (high, low) = (store(hash[0]), store(hash[1]));
                    for lane in 0..LANES {
                        if candidates >> lane & 1 == 1 {
                            best = run.better(best, start + lane, high[lane], low[lane]);
                        }
                    }
                    limit = splat(Best::limit(best));
                }
                at = start + LANES;
            }
            best
        }

        $(#[$features])*
        pub(super) fn grind(grind: &Grind, first: u32, last: u32) -> Option<u32> {
            let plan = Plan::new::<3, 3>(grind.state, &grind.block);
            let second = Plan::new::<0, 7>(INITIAL, &grind.second_block());
            let early = splat_all(&plan.early);
            let state = splat_all(&plan.state);
            let words = splat_all(&plan.words);
            let initial = splat_all(&INITIAL);
            let second_words = splat_all(&second.words);
            let limit = splat(grind.limit);
            let mut at = u64::from(first);
            while at <= u64::from(last) {
                #[expect(clippy::cast_possible_truncation, reason = "at most `last`")]
                let base = at as u32;
                let mut w = words;
                w[3] = swap_bytes(count_from(base));
                let hash = add_all(rounds::<3, 3, 64>(early, w, &plan), state);
                let mut w = second_words;
                w[..8].copy_from_slice(&hash);
                // The last word of the digest holds the most significant bytes, and is what
                // word 4 was three rounds before the end.
                let v = rounds::<0, 7, 61>(initial, w, &second);
                let top = swap_bytes(add(v[4], splat(INITIAL[7])));
                let mut candidates = at_most(top, limit);
                while candidates != 0 {
                    let nonce = at + u64::from(candidates.trailing_zeros());
                    match u32::try_from(nonce) {
                        Ok(nonce) if nonce <= last && grind.is_met(nonce) => return Some(nonce),
                        _ => candidates &= candidates - 1,
                    }
                }
                at += LANES as u64;
            }
            None
        }
    };
}
