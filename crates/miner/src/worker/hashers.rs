//! Threads that hash ranges, in the order in which they came.
//!
//! A range is done in slices, which the threads take one after the other. When the slices of
//! a range are all taken, free threads begin with the next range: none waits at the end of a
//! range for the others. A range of which a nonce ends the search is done at once. Results of ranges without an id are handed out in the order of the
//! ranges, because that is how an original server tells them apart.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use miner_core::Nonces;
use miner_core::limits::PIECES;
use miner_kernels::{Best, Kernel, Puzzle};
use tokio::sync::mpsc;

/// Nonces of a slice: some milliseconds, so that a range that is taken back costs little.
const SLICE_NONCES: u128 = 1 << 18;

/// Results that wait to be sent at most; then the threads wait.
const RESULTS_MAX: usize = 256;

/// A range to hash.
#[derive(Debug)]
pub(super) struct Work {
    id: Option<u64>,
    puzzle: Arc<Puzzle>,
    /// What no thread has taken yet: which piece, and what is left of it.
    left: VecDeque<(usize, Nonces)>,
    /// Slices that threads have.
    taken: usize,
    /// The best of each piece that has nonces.
    bests: [Option<Best>; PIECES],
    is_small: bool,
    /// What ends the search.
    solution: Option<Best>,
}

/// The best of a range.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: Option<u64>,
    pub(super) best: Best,
    /// The smallest hash of each piece; empty for a range of fewer nonces than pieces, and
    /// for one that was not hashed to its end because the search is over.
    pub(super) minima: Vec<u64>,
}

impl Work {
    pub(super) fn new(id: Option<u64>, puzzle: Puzzle, nonces: Nonces) -> Self {
        let piece = |at| nonces.piece(at, PIECES).map(|piece| (at, piece));
        Self {
            id,
            puzzle: Arc::new(puzzle),
            left: (0..PIECES).filter_map(piece).collect(),
            taken: 0,
            bests: [None; PIECES],
            is_small: nonces.count() < PIECES as u128,
            solution: None,
        }
    }

    /// What is found when every slice is done, or the search is over.
    fn found(&self) -> Option<Found> {
        let solved = self.solution.map(|best| Found {
            id: self.id,
            best,
            minima: Vec::new(),
        });
        if solved.is_some() {
            return solved;
        }
        if self.taken > 0 || !self.left.is_empty() {
            return None;
        }
        let bests = || self.bests.iter().flatten();
        let minima = if self.is_small {
            Vec::new()
        } else {
            bests().map(|best| best.hash).collect()
        };
        bests().min().map(|best| Found {
            id: self.id,
            best: *best,
            minima,
        })
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// With the number of each, by which threads find it again.
    works: VecDeque<(u64, Work)>,
    next: u64,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Threads that hash. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Hashers {
    shared: Arc<Shared>,
}

impl Hashers {
    /// Starts the threads; the results come out of the receiver.
    pub(super) fn start(
        kernel: Kernel,
        threads: NonZeroUsize,
    ) -> std::io::Result<(Self, mpsc::Receiver<Found>)> {
        let (sender, receiver) = mpsc::channel(RESULTS_MAX);
        let hashers = Self {
            shared: Arc::default(),
        };
        for number in 0..threads.get() {
            let (shared, sender) = (Arc::clone(&hashers.shared), sender.clone());
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || shared.work(kernel, &sender))?;
        }
        Ok((hashers, receiver))
    }

    /// Puts a range at the end.
    pub(super) fn push(&self, work: Work) {
        let mut queue = self.shared.lock();
        let number = queue.next;
        queue.next += 1;
        queue.works.push_back((number, work));
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Takes a range out, as far as it isn't done.
    pub(super) fn cancel(&self, id: u64) {
        self.shared
            .lock()
            .works
            .retain(|(_, work)| work.id != Some(id));
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A thread that panicked leaves a slice undone; the others can go on.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn work(&self, kernel: Kernel, results: &mpsc::Sender<Found>) {
        while let Some((number, puzzle, at, slice)) = self.take() {
            let best = puzzle.minimum(kernel, slice.first()..=slice.last());
            let found = self.finish(number, at, best);
            for found in found {
                // The receiver is gone when the server is: `take` ends the thread.
                if results.blocking_send(found).is_err() {
                    return;
                }
            }
        }
    }

    /// The next slice; waits for one. Nothing when it is over.
    fn take(&self) -> Option<(u64, Arc<Puzzle>, usize, Nonces)> {
        let mut queue = self.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            let open = queue
                .works
                .iter_mut()
                .find(|(_, work)| !work.left.is_empty());
            if let Some((number, work)) = open {
                let (at, piece) = work.left.pop_front().expect("it is not empty");
                let (slice, rest) = piece.split(SLICE_NONCES);
                if let Some(rest) = rest {
                    work.left.push_front((at, rest));
                }
                work.taken += 1;
                return Some((*number, Arc::clone(&work.puzzle), at, slice));
            }
            let waiting = self.changed.wait(queue);
            queue = waiting.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes the best of a slice; returns the results that are due.
    fn finish(&self, number: u64, at: usize, best: Option<Best>) -> Vec<Found> {
        let mut queue = self.lock();
        let works = &mut queue.works;
        if let Some((_, work)) = works.iter_mut().find(|(found, _)| *found == number) {
            work.taken -= 1;
            work.bests[at] = work.bests[at].into_iter().chain(best).min();
            let solution = best.filter(|best| work.puzzle.is_solved_by(best.nonce));
            work.solution = work.solution.or(solution);
        }
        let (mut done, mut at) = (Vec::new(), 0);
        while let Some((_, work)) = works.get(at) {
            match work.found().filter(|found| found.id.is_some() || at == 0) {
                Some(found) => {
                    works.remove(at);
                    done.push(found);
                }
                None => at += 1,
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use miner_kernels::{Header, Message};

    use super::*;

    fn text() -> Puzzle {
        Puzzle::Message(Message::new(b"m"))
    }

    #[tokio::test]
    async fn ranges_are_done_in_order_by_any_number_of_threads() {
        for threads in [1, 3] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let (hashers, mut results) = Hashers::start(Kernel::PORTABLE, threads).unwrap();
            let ranges: Vec<Nonces> = [(0, 0), (5, 700_000), (7, 20), (100, 100_000)]
                .map(|(first, last)| Nonces::new(first, last).unwrap())
                .to_vec();
            for nonces in &ranges {
                hashers.push(Work::new(None, text(), *nonces));
            }
            for nonces in &ranges {
                let found = results.recv().await.unwrap();
                let all = nonces.first()..=nonces.last();
                let best = Message::new(b"m").minimum(Kernel::PORTABLE, all);
                assert_eq!(Some(found.best), best);
                let pieces = if nonces.count() < 16 { 0 } else { 16 };
                assert_eq!(found.minima.len(), pieces);
                let least = found.minima.iter().min().copied();
                assert_eq!(least.unwrap_or(found.best.hash), found.best.hash);
            }
        }
    }

    #[tokio::test]
    async fn a_range_that_is_taken_back_is_not_answered() {
        let one = NonZeroUsize::new(1).unwrap();
        let (hashers, mut results) = Hashers::start(Kernel::PORTABLE, one).unwrap();
        let range = |first, last| Nonces::new(first, last).unwrap();
        hashers.push(Work::new(Some(1), text(), range(0, u64::MAX)));
        hashers.push(Work::new(Some(2), text(), range(0, u64::MAX - 5)));
        hashers.push(Work::new(Some(3), text(), range(0, 9)));
        hashers.cancel(2);
        hashers.cancel(1);
        assert_eq!(results.recv().await.unwrap().id, Some(3));
    }

    #[tokio::test]
    async fn a_solved_header_ends_its_range() {
        let one = NonZeroUsize::new(1).unwrap();
        let (hashers, mut results) = Hashers::start(Kernel::PORTABLE, one).unwrap();
        let mut bytes = [9; 80];
        bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        let puzzle = Puzzle::header(Header::new(bytes)).unwrap();
        let all = Nonces::new(0, u64::from(u32::MAX)).unwrap();
        hashers.push(Work::new(Some(1), puzzle.clone(), all));
        hashers.push(Work::new(Some(2), text(), Nonces::new(0, 0).unwrap()));
        let found = results.recv().await.unwrap();
        assert_eq!(found.id, Some(1));
        assert!(puzzle.is_solved_by(found.best.nonce) && found.minima.is_empty());
        assert_eq!(results.recv().await.unwrap().id, Some(2));
    }
}
