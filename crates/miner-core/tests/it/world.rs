//! A world of clients, workers and a server, with time that passes in jumps.
//!
//! Workers hash for real, so that answers can be compared with what hashing everything at
//! once finds; only their speed is pretended.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use miner_core::{
    Action, CheckId, Claim, ClientId, Config, JobRecord, Nonces, Pool, Progress, RangeId,
    Submission, Takes, WorkerId,
};
use miner_kernels::{Best, Header, Kernel, Message, Problem, Puzzle};
use sim::EventQueue;
use stdx::{Instant, Prng};

/// What a worker is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Nature {
    Honest,
    /// Claims hashes that are too good.
    FalseHash,
    /// Claims the hash of the first nonce without looking at the others.
    Lazy,
    /// Claims something right about another range.
    OtherRange,
    /// Stops answering, but stays connected.
    SilentFrom(Instant),
    /// Is slower from then on, by this factor.
    SlowFrom(Instant, f64),
}

#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) speed: f64,
    /// Whether it is one of ours.
    pub(crate) extended: bool,
    pub(crate) takes: Takes,
    pub(crate) nature: Nature,
    pub(crate) joins: Instant,
    pub(crate) dies: Option<Instant>,
    /// One way.
    pub(crate) delay: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    pub(crate) problem: Problem,
    pub(crate) message: String,
    pub(crate) nonces: Nonces,
    pub(crate) arrives: Instant,
    /// Whether it has a key, and its client comes back after a restart.
    pub(crate) keyed: bool,
    pub(crate) vanishes: Option<Instant>,
    /// Jobs of the same number come over one connection.
    pub(crate) client: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) workers: Vec<WorkerPlan>,
    pub(crate) jobs: Vec<JobPlan>,
    pub(crate) restarts: Vec<Instant>,
    /// Everything must be answered by then.
    pub(crate) until: Instant,
    /// Whether the pool's own invariants are checked too.
    pub(crate) looks_inside: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// For each job, when it was answered.
    pub(crate) answered: Vec<Option<Instant>>,
    /// Workers whose connection the server closed.
    pub(crate) dropped: Vec<usize>,
    /// Nonces hashed by each worker.
    pub(crate) hashed: Vec<u128>,
    pub(crate) counters: miner_core::Counters,
}

type Held = (RangeId, Puzzle, Nonces);

#[derive(Debug)]
enum Event {
    Join(usize),
    Die(usize),
    Arrive(usize),
    Vanish(usize),
    Restart,
    /// At the worker.
    Assigned(usize, u64, Held),
    Cancelled(usize, u64, RangeId),
    Finished(usize, u64),
    /// At the server.
    Result(usize, u64, Claim),
    Checked(CheckId, Best),
    Timer,
}

#[derive(Debug)]
struct SimWorker {
    plan: WorkerPlan,
    /// Grows with every connection, and 0 is none.
    session: u64,
    queue: VecDeque<Held>,
    /// Grows whenever what it works on changes.
    turn: u64,
}

struct World {
    scenario: Scenario,
    kernel: Kernel,
    now: Instant,
    events: EventQueue<Event>,
    timer: Option<Instant>,
    pool: Pool,
    lives: u64,
    workers: Vec<SimWorker>,
    store: BTreeMap<String, Vec<u8>>,
    outcome: Outcome,
    trouble: Option<String>,
}

/// At so many seconds from the start.
pub(crate) fn at(seconds: f64) -> Instant {
    Instant::EPOCH.after(Duration::from_secs_f64(seconds))
}

pub(crate) fn worker(speed: f64) -> WorkerPlan {
    WorkerPlan {
        speed,
        extended: true,
        takes: Takes::Headers,
        nature: Nature::Honest,
        joins: Instant::EPOCH,
        dies: None,
        delay: Duration::from_millis(10),
    }
}

pub(crate) fn job(at_seconds: f64, count: u64) -> JobPlan {
    JobPlan {
        problem: Problem::Cmu,
        message: format!("job of {count} at {at_seconds}"),
        nonces: Nonces::new(0, count - 1).unwrap(),
        arrives: at(at_seconds),
        keyed: false,
        vanishes: None,
        client: 0,
    }
}

/// A job of a header that one nonce in so many (a power of two, from 256) solves.
pub(crate) fn header_job(at_seconds: f64, count: u64, one_in: u64) -> JobPlan {
    let mut plan = job(at_seconds, count);
    let mut bytes = [0; 80];
    let seed = one_in ^ (count << 20) ^ plan.arrives.since(Instant::EPOCH).as_secs();
    Prng::from_seed(seed).fill(&mut bytes);
    // The mantissa is the upper three bytes of the target: 2^24 / `one_in`.
    let mantissa = u32::try_from(0x7f_ffff / one_in * 2).unwrap();
    bytes[72..76].copy_from_slice(&((0x20 << 24) | mantissa).to_le_bytes());
    plan.problem = Problem::Bitcoin;
    plan.message = Header::new(bytes).to_string();
    plan
}

/// What a worker or the server makes of a message.
fn puzzle(problem: Problem, message: &str) -> Puzzle {
    match problem {
        Problem::Cmu => Puzzle::Message(Message::new(message.as_bytes())),
        Problem::Bitcoin => Puzzle::header(message.parse().unwrap()).unwrap(),
    }
}

pub(crate) fn scenario(seed: u64, workers: Vec<WorkerPlan>, jobs: Vec<JobPlan>) -> Scenario {
    let mut jobs = jobs;
    for (number, job) in jobs.iter_mut().enumerate() {
        if job.client == 0 {
            job.client = number + 1_000;
        }
    }
    Scenario {
        seed,
        config: Config::default(),
        workers,
        jobs,
        restarts: Vec::new(),
        until: at(100_000.0),
        looks_inside: true,
    }
}

/// Runs a scenario; the error says what the pool did wrong.
pub(crate) fn run(scenario: &Scenario) -> Result<Outcome, String> {
    let mut world = World::new(scenario.clone());
    while let Some((now, event)) = world.events.pop() {
        if now > scenario.until || world.is_over() {
            break;
        }
        world.now = now;
        world.step(event);
        world.obey();
        if scenario.looks_inside {
            world.pool.check_invariants();
        }
        if let Some(trouble) = world.trouble {
            return Err(format!("seed {}: at {now:?}: {trouble}", scenario.seed));
        }
    }
    world.outcome.counters = world.pool.counters();
    for (number, plan) in scenario.jobs.iter().enumerate() {
        if world.outcome.answered[number].is_none() && plan.vanishes.is_none() {
            return Err(format!(
                "seed {}: job {number} was not answered",
                scenario.seed
            ));
        }
    }
    Ok(world.outcome)
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut events = EventQueue::new();
        for (number, worker) in scenario.workers.iter().enumerate() {
            events.push(worker.joins, Event::Join(number));
            if let Some(dies) = worker.dies {
                events.push(dies, Event::Die(number));
            }
        }
        for (number, job) in scenario.jobs.iter().enumerate() {
            events.push(job.arrives, Event::Arrive(number));
            if let Some(vanishes) = job.vanishes {
                events.push(vanishes, Event::Vanish(number));
            }
        }
        for restart in &scenario.restarts {
            events.push(*restart, Event::Restart);
        }
        let sim = |plan: &WorkerPlan| SimWorker {
            plan: plan.clone(),
            session: 0,
            queue: VecDeque::new(),
            turn: 0,
        };
        let outcome = Outcome {
            answered: vec![None; scenario.jobs.len()],
            hashed: vec![0; scenario.workers.len()],
            ..Outcome::default()
        };
        Self {
            kernel: Kernel::all().last().copied().unwrap_or(Kernel::PORTABLE),
            now: Instant::EPOCH,
            events,
            timer: None,
            pool: Pool::new(scenario.config.clone(), scenario.seed),
            lives: 0,
            workers: scenario.workers.iter().map(sim).collect(),
            store: BTreeMap::new(),
            outcome,
            trouble: None,
            scenario,
        }
    }

    fn is_over(&self) -> bool {
        let jobs = self.scenario.jobs.iter().zip(&self.outcome.answered);
        let open = |(job, answered): (&JobPlan, &Option<Instant>)| {
            answered.is_none() && job.vanishes.is_none_or(|vanishes| self.now < vanishes)
        };
        !jobs.into_iter().any(open)
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Join(number) => self.join(number),
            Event::Die(number) => {
                let worker = &mut self.workers[number];
                let id = id(number, worker.session);
                worker.session += 1;
                worker.queue.clear();
                worker.turn += 1;
                worker.plan.dies = Some(now);
                self.pool.on_worker_lost(now, id);
            }
            Event::Arrive(number) => self.arrive(number),
            Event::Vanish(number) => {
                let client = self.client(number);
                self.pool.on_client_lost(now, client);
            }
            Event::Restart => self.restart(),
            Event::Assigned(number, session, held) => {
                let worker = &mut self.workers[number];
                if worker.session == session {
                    worker.queue.push_back(held);
                    if worker.queue.len() == 1 {
                        self.start(number);
                    }
                }
            }
            Event::Cancelled(number, session, range) => {
                let worker = &mut self.workers[number];
                if worker.session == session {
                    let is_front = worker.queue.front().is_some_and(|held| held.0 == range);
                    worker.queue.retain(|held| held.0 != range);
                    if is_front {
                        self.start(number);
                    }
                }
            }
            Event::Finished(number, turn) => self.finish(number, turn),
            Event::Result(number, session, claim) => {
                if self.workers[number].session == session {
                    self.pool.on_result(now, id(number, session), &claim);
                }
            }
            Event::Checked(check, best) => self.pool.on_checked(now, check, best),
            // One that an earlier one has overtaken is stale, and must not arm another.
            Event::Timer if self.timer != Some(now) => {}
            Event::Timer => {
                self.timer = None;
                self.pool.on_timeout(now);
            }
        }
    }

    fn client(&self, number: usize) -> ClientId {
        ClientId::new(self.scenario.jobs[number].client as u64 * 100 + self.lives)
    }

    fn join(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        worker.session += 1;
        let speed = worker.plan.extended.then_some(worker.plan.speed);
        let (id, takes) = (id(number, worker.session), worker.plan.takes);
        let joined = self.pool.on_worker_joined(self.now, id, speed, takes);
        joined.expect("there is room");
    }

    fn arrive(&mut self, number: usize) {
        let plan = &self.scenario.jobs[number];
        let submission = Submission {
            problem: plan.problem,
            message: plan.message.clone(),
            lower: plan.nonces.first(),
            upper: plan.nonces.last(),
            key: plan.keyed.then(|| format!("key {number}")),
            progress: Progress::Wanted,
        };
        let client = self.client(number);
        let taken = self.pool.submit(self.now, client, submission);
        if let Err(error) = taken {
            self.trouble = Some(format!("job {number} was not taken: {error}"));
        }
    }

    /// The server dies and comes up again with what it saved; everybody connects anew.
    fn restart(&mut self) {
        self.lives += 1;
        let seed = self.scenario.seed + 1_000 * self.lives;
        self.pool = Pool::new(self.scenario.config.clone(), seed);
        for bytes in self.store.values() {
            match JobRecord::decode(bytes) {
                Ok(record) => self.pool.restore(self.now, record).unwrap(),
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            worker.session += 1;
            worker.queue.clear();
            worker.turn += 1;
            let is_dead = worker.plan.dies.is_some_and(|dies| dies <= self.now);
            let is_known = worker.plan.joins <= self.now;
            if is_known && !is_dead && !self.outcome.dropped.contains(&number) {
                self.events.push(
                    self.now.after(Duration::from_millis(200)),
                    Event::Join(number),
                );
            }
        }
        for (number, job) in self.scenario.jobs.iter().enumerate() {
            let is_waiting = job.arrives <= self.now && self.outcome.answered[number].is_none();
            if is_waiting && job.vanishes.is_none_or(|vanishes| vanishes > self.now) {
                let back = self.now.after(Duration::from_millis(500));
                self.events.push(back, Event::Arrive(number));
            }
        }
    }

    /// Does what the pool asks for.
    fn obey(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Assign {
                    worker,
                    range,
                    problem,
                    message,
                    nonces,
                    ..
                } => {
                    let (number, session) = parts(worker);
                    let plan = &self.workers[number].plan;
                    let arrives = self.now.after(plan.delay);
                    // One that doesn't know headers hashes their digits.
                    let knows = plan.extended && plan.takes.includes(problem);
                    let problem = if knows { problem } else { Problem::Cmu };
                    let held = (range, puzzle(problem, &message), nonces);
                    self.events
                        .push(arrives, Event::Assigned(number, session, held));
                }
                Action::Cancel { worker, range } => {
                    let (number, session) = parts(worker);
                    let arrives = self.now.after(self.workers[number].plan.delay);
                    self.events
                        .push(arrives, Event::Cancelled(number, session, range));
                }
                Action::Drop { worker, reason } => self.dropped(worker, &reason.to_string()),
                Action::Answer { client, best } => self.answer(client, best),
                Action::Progress { done, total, .. } => {
                    if done > total {
                        self.trouble = Some(format!("{done} of {total} are done"));
                    }
                }
                Action::Check {
                    check,
                    puzzle,
                    nonces,
                } => {
                    let best = puzzle.minimum(self.kernel, nonces.first()..=nonces.last());
                    let took = self.now.after(Duration::from_millis(5));
                    self.events
                        .push(took, Event::Checked(check, best.expect("not empty")));
                }
                Action::Save(record) => {
                    self.store.insert(record.key.clone(), record.encode());
                }
                Action::Forget { key } => {
                    self.store.remove(&key);
                }
            }
        }
        let next = self.pool.poll_timeout().map(|next| next.max(self.now));
        if let Some(next) = next.filter(|next| self.timer.is_none_or(|timer| *next < timer)) {
            self.timer = Some(next);
            self.events.push(next, Event::Timer);
        }
    }

    fn dropped(&mut self, worker: WorkerId, reason: &str) {
        let (number, _) = parts(worker);
        let worker = &mut self.workers[number];
        worker.session += 1;
        worker.queue.clear();
        worker.turn += 1;
        self.outcome.dropped.push(number);
        let nature = worker.plan.nature;
        if !matches!(
            nature,
            Nature::FalseHash | Nature::Lazy | Nature::OtherRange
        ) {
            self.trouble = Some(format!(
                "worker {number} ({nature:?}) was dropped: {reason}"
            ));
        }
    }

    fn answer(&mut self, client: ClientId, best: Best) {
        let jobs = 0..self.scenario.jobs.len();
        let right = |number: &usize| {
            let job = &self.scenario.jobs[*number];
            let puzzle = puzzle(job.problem, &job.message);
            let all = job.nonces.first()..=job.nonces.last();
            // Any solution will do. If there is none, the best there is.
            self.client(*number) == client
                && self.outcome.answered[*number].is_none()
                && job.nonces.contains(best.nonce)
                && puzzle.hash(best.nonce) == best.hash
                && (puzzle.is_solved_by(best.nonce)
                    || puzzle.minimum(self.kernel, all) == Some(best))
        };
        match jobs.into_iter().find(right) {
            Some(number) => self.outcome.answered[number] = Some(self.now),
            None => self.trouble = Some(format!("a wrong answer for {client}: {best:?}")),
        }
    }

    /// The worker begins with the front of its queue.
    fn start(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        worker.turn += 1;
        let Some((_, puzzle, nonces)) = worker.queue.front() else {
            return;
        };
        let hashes = match puzzle.problem() {
            Problem::Cmu => nonces.count(),
            Problem::Bitcoin => nonces.count() * 2,
        };
        let speed = match worker.plan.nature {
            Nature::SilentFrom(from) if from <= self.now => return,
            Nature::SlowFrom(from, factor) if from <= self.now => worker.plan.speed / factor,
            _ => worker.plan.speed,
        };
        #[expect(clippy::cast_precision_loss, reason = "a simulated duration")]
        let took = Duration::from_secs_f64(hashes as f64 / speed);
        self.events
            .push(self.now.after(took), Event::Finished(number, worker.turn));
    }

    fn finish(&mut self, number: usize, turn: u64) {
        let worker = &mut self.workers[number];
        if worker.turn != turn {
            return;
        }
        let (range, puzzle, nonces) = worker.queue.pop_front().expect("it worked on it");
        let mut claim = self.claim(number, range, &puzzle, nonces);
        let worker = &mut self.workers[number];
        if !worker.plan.extended {
            claim.range = None;
            claim.minima.clear();
        }
        self.outcome.hashed[number] += nonces.count();
        let arrives = self.now.after(worker.plan.delay);
        self.events
            .push(arrives, Event::Result(number, worker.session, claim));
        self.start(number);
    }

    fn claim(&self, number: usize, range: RangeId, puzzle: &Puzzle, nonces: Nonces) -> Claim {
        let find = |nonces: Nonces| {
            let best = puzzle.minimum(self.kernel, nonces.first()..=nonces.last());
            best.expect("no range is empty")
        };
        let range = Some(range);
        let pieces = (0..16).filter_map(|at| nonces.piece(at, 16));
        let is_large = nonces.count() >= 16;
        let first = Best {
            hash: puzzle.hash(nonces.first()),
            nonce: nonces.first(),
        };
        match self.workers[number].plan.nature {
            Nature::FalseHash => {
                let best = Best {
                    hash: find(nonces).hash / 2,
                    nonce: nonces.last(),
                };
                Claim {
                    range,
                    best,
                    minima: Vec::new(),
                }
            }
            Nature::Lazy => {
                let minima = if is_large {
                    vec![first.hash; 16]
                } else {
                    Vec::new()
                };
                Claim {
                    range,
                    best: first,
                    minima,
                }
            }
            Nature::OtherRange => {
                let nonce = nonces.last() + 5;
                let best = Best {
                    hash: puzzle.hash(nonce),
                    nonce,
                };
                Claim {
                    range,
                    best,
                    minima: Vec::new(),
                }
            }
            Nature::Honest | Nature::SilentFrom(_) | Nature::SlowFrom(..) => {
                let bests: Vec<Best> = pieces.map(find).collect();
                let best = bests.iter().min().copied().expect("no range is empty");
                let minima = bests.iter().map(|best| best.hash);
                let minima = if is_large {
                    minima.collect()
                } else {
                    Vec::new()
                };
                Claim {
                    range,
                    best,
                    minima,
                }
            }
        }
    }
}

fn id(number: usize, session: u64) -> WorkerId {
    WorkerId::new(number as u64 * 1_000 + session)
}

fn parts(worker: WorkerId) -> (usize, u64) {
    let number = usize::try_from(worker.get() / 1_000).expect("a small number");
    (number, worker.get() % 1_000)
}

/// Draws a world with every kind of trouble.
pub(crate) fn draw(seed: u64) -> Scenario {
    let mut prng = Prng::from_seed(seed);
    let seconds = |prng: &mut Prng, below: u64| at(prng.below(below * 1_000) as f64 / 1_000.0);
    let mut workers = Vec::new();
    for number in 0..prng.range(2..7) {
        let mut plan = worker(prng.range(200..4_000) as f64);
        plan.extended = prng.chance(2, 3);
        if prng.chance(1, 3) {
            plan.takes = Takes::Messages;
        }
        plan.joins = seconds(&mut prng, 10);
        plan.delay = Duration::from_millis(prng.range(1..200));
        // The first one stays honest and alive, and takes everything: somebody must do the work.
        if number == 0 {
            plan.extended = true;
            plan.takes = Takes::Headers;
        } else {
            plan.nature = match prng.below(8) {
                0 => Nature::FalseHash,
                1 => Nature::Lazy,
                2 => Nature::OtherRange,
                3 => Nature::SilentFrom(seconds(&mut prng, 60)),
                4 => Nature::SlowFrom(seconds(&mut prng, 60), prng.range(2..100) as f64),
                _ => Nature::Honest,
            };
            if prng.chance(1, 3) {
                plan.dies =
                    Some(seconds(&mut prng, 90).max(plan.joins.after(Duration::from_millis(1))));
            }
        }
        workers.push(plan);
    }
    let mut jobs = Vec::new();
    for _ in 0..prng.range(1..12) {
        let size = 1 << prng.below(15);
        let count = size + prng.below(size);
        let mut plan = if prng.chance(1, 4) {
            // Solved at once, somewhere, or not at all.
            header_job(0.0, count, 1 << prng.range(8..18))
        } else {
            let mut plan = job(0.0, count);
            plan.message = format!("message {}", prng.below(1_000));
            plan
        };
        plan.arrives = seconds(&mut prng, 60);
        let first = if prng.chance(1, 2) {
            let bits = if plan.problem == Problem::Cmu { 40 } else { 31 };
            prng.below(1 << bits)
        } else {
            0
        };
        plan.nonces = Nonces::new(first, first + plan.nonces.last()).unwrap();
        plan.keyed = prng.chance(1, 2);
        if prng.chance(1, 5) {
            plan.vanishes = Some(
                plan.arrives
                    .after(Duration::from_millis(prng.below(20_000))),
            );
        }
        jobs.push(plan);
    }
    let mut scenario = scenario(seed, workers, jobs);
    // A liar that lies from its first result is caught by the check of that one.
    scenario.restarts = (0..prng.below(3)).map(|_| seconds(&mut prng, 90)).collect();
    scenario
}
