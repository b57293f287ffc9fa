//! The determinism audit: a sample of tasks is executed once more, elsewhere, and compared.

use stdx::Prng;

use crate::attempt::{Attempt, Purpose};
use crate::id::{AttemptId, Stage, TaskId, WorkerId};
use crate::job::Job;
use crate::message::{Event, How, Report, ToWorker};
use crate::receipt::AuditNote;
use crate::record::Record;
use crate::task::Audit;

/// Draws which of `count` tasks are audited.
pub(crate) fn choose(count: u32, permille: u32, prng: &mut Prng) -> Vec<Audit> {
    let mut chosen = vec![Audit::No; count as usize];
    let permille = permille.min(1000);
    let wanted = (u64::from(count) * u64::from(permille) + 500) / 1000;
    let mut left: Vec<usize> = (0..chosen.len()).collect();
    for _ in 0..wanted {
        let at = left.swap_remove(prng.index(left.len()));
        chosen[at] = Audit::Wanted { failures: 0 };
    }
    chosen
}

impl Job {
    pub(crate) fn schedule_audits(&mut self) {
        let maps = (0..self.plan.maps).map(TaskId::map);
        let reduces = (0..self.plan.reduces).map(TaskId::reduce);
        let due: Vec<TaskId> = maps
            .chain(reduces)
            .filter(|id| self.audit_is_due(*id))
            .collect();
        for task in due {
            let not = self.unfit_for_audit(task);
            self.assign(task, Purpose::Audit, 0, &not);
        }
    }

    fn audit_is_due(&self, id: TaskId) -> bool {
        let task = self.task(id);
        let readable = id.stage == Stage::Map || self.maps_are_readable();
        let wanted = matches!(task.audit, Audit::Wanted { .. });
        wanted && task.winner.is_some() && task.running.is_empty() && readable
    }

    /// Who executed the winner, if anybody else could do the audit.
    fn unfit_for_audit(&self, id: TaskId) -> Vec<WorkerId> {
        let Some(winner) = self.task(id).winner.as_ref().map(|w| w.worker) else {
            return Vec::new();
        };
        let other = self
            .workers
            .iter()
            .any(|(id, w)| *id != winner && w.is_connected() && !w.draining);
        if other { vec![winner] } else { Vec::new() }
    }

    pub(crate) fn on_audit_report(&mut self, id: AttemptId, attempt: &Attempt, report: &Report) {
        let (task, worker) = (attempt.task, attempt.worker);
        self.send(worker, ToWorker::Discard { attempt: id });
        self.remove_file(id, task);
        let print = report.print();
        let same = self
            .task(task)
            .print
            .as_ref()
            .is_none_or(|(_, known)| *known == print);
        self.tell(Event::Done {
            attempt: id,
            task,
            worker,
            how: How::Audited { same },
        });
        self.task_mut(task).audit = Audit::Recording;
        self.queue.push(Record::Audited {
            task,
            attempt: id,
            worker,
            same,
        });
        let _ended = self.agrees(task, id, &print);
    }

    pub(crate) fn on_audit_failed(&mut self, id: TaskId) {
        let tries = self.config.audit_tries;
        let task = self.task_mut(id);
        if let Audit::Wanted { failures } = task.audit {
            let failures = failures + 1;
            if failures < tries {
                task.audit = Audit::Wanted { failures };
            } else {
                task.audit = Audit::Recording;
                self.queue.push(Record::AuditGivenUp { task: id });
            }
        }
    }

    pub(crate) fn apply_audited(&mut self, note: AuditNote) {
        if self.has_task(note.task) {
            self.task_mut(note.task).audit = Audit::Settled;
            self.retired.insert(note.attempt, note.task);
            self.audits.push(note);
        }
    }
}
