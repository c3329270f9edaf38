//! A run of the bench: every group, and all of them again, since a machine is not the same minutes
//! later. Figures are over both times; where the two differ by more than their spreads, the row says
//! so.

use std::path::Path;

use anyhow::Result;

use crate::cli::Cli;
use crate::groups::{self, GROUPS, Group};
use crate::harness::{Rounds, Row};
use crate::probe::Probe;
use crate::report::json::Rows;
use crate::report::ran::{Ran, Time};
use crate::report::table::Live;
use crate::{count, end_to_end, run};

/// How the run goes.
pub(crate) struct Session<'a> {
    cli: &'a Cli,
    counting: bool,
    scratch: &'a Path,
    done: Vec<Done>,
    /// The fastest that the machine was seen to be.
    fastest: Option<Probe>,
}

/// A group, as far as it was measured.
struct Done {
    group: &'static Group,
    ran: Ran,
    /// Its cases; none where its rows come of one run.
    rounds: Vec<Rounds>,
    counts: count::Counts,
    /// The rows of a group that is measured once.
    once: Vec<Row>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(cli: &'a Cli, counting: bool, scratch: &'a Path) -> Self {
        Self { cli, counting, scratch, done: Vec::new(), fastest: None }
    }

    /// Measures these groups; `after` is given what there is after each.
    pub(crate) fn run(
        mut self,
        groups: &[&'static Group],
        after: impl Fn(Rows) -> Result<()>,
    ) -> Result<Rows> {
        for group in groups {
            let done = self.first(group)?;
            self.done.push(done);
            after(self.rows())?;
        }
        // A look is one time.
        for at in if self.cli.quick { 0..0 } else { 0..self.done.len() } {
            if !self.done[at].rounds.is_empty() {
                self.second(at)?;
                after(self.rows())?;
            }
        }
        Ok(self.rows())
    }

    fn first(&mut self, group: &'static Group) -> Result<Done> {
        let live = Live::new(group, "");
        let time = Time::begun();
        let mut done = Done {
            group,
            ran: Ran::new(group.name, self.cli.quick),
            rounds: Vec::new(),
            counts: count::Counts::new(),
            once: Vec::new(),
        };
        match group.name {
            "idle" => {
                done.once = groups::idle::rows()?;
                live.bytes(&done.once);
            }
            "parked" => {
                done.once = end_to_end::parked_rows(
                    self.cli.quick,
                    self.cli.former.as_deref(),
                    self.scratch,
                    &live,
                )?;
                live.bytes(&done.once);
            }
            "months" => {
                done.once = groups::months::rows(self.cli.quick, &live)?;
                live.bytes(&done.once);
            }
            "end-to-end" => {
                done.once = end_to_end::rows(
                    self.cli.quick,
                    self.counting,
                    self.cli.former.as_deref(),
                    self.scratch,
                    &live,
                )?;
            }
            _ => {
                if self.counting {
                    let exe = run::executable(group, &live)?;
                    live.doing("counting instructions");
                    done.counts = count::group(group, &exe, self.scratch).unwrap_or_else(|why| {
                        eprintln!("SKIPPED: instructions of {}: {why:#}", group.name);
                        count::Counts::new()
                    });
                }
                done.rounds = self.rounds(group, &live)?;
                self.look(&done.rounds);
                self.show(&done, &live);
            }
        }
        done.ran.times.push(told(time.ended()));
        Ok(done)
    }

    fn second(&mut self, at: usize) -> Result<()> {
        let group = self.done[at].group;
        let live = Live::new(group, ", again: figures over both times");
        let time = Time::begun();
        let rounds = self.rounds(group, &live)?;
        self.look(&rounds);
        for (first, second) in self.done[at].rounds.iter_mut().zip(rounds) {
            first.again(second);
        }
        self.show(&self.done[at], &live);
        self.done[at].ran.times.push(told(time.ended()));
        Ok(())
    }

    fn rounds(&self, group: &Group, live: &Live) -> Result<Vec<Rounds>> {
        if group.name == "global" {
            return groups::global::rounds(self.cli.quick, live);
        }
        run::group(group, self.cli.quick, live)
    }

    fn look(&mut self, rounds: &[Rounds]) {
        for probe in rounds.iter().flat_map(|one| &one.probes) {
            self.fastest = Some(self.fastest.map_or(*probe, |fastest| fastest.faster(*probe)));
        }
    }

    fn show(&self, done: &Done, live: &Live) {
        let rows = done.rows(self.fastest());
        for case in rows.chunk_by(|one, other| one.case == other.case) {
            live.case(case);
        }
    }

    fn fastest(&self) -> Probe {
        self.fastest.unwrap_or_default()
    }

    /// All rows so far.
    fn rows(&self) -> Rows {
        let mut all = Rows::default();
        for group in GROUPS {
            let Some(done) = self.done.iter().find(|done| done.group.name == group.name) else {
                continue;
            };
            let probes = done.rounds.iter().flat_map(|one| &one.probes);
            all.rows.extend(done.rows(self.fastest()));
            all.groups.push(done.ran.clone().probed(probes, self.fastest()));
        }
        all
    }
}

impl Done {
    fn rows(&self, fastest: Probe) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .rounds
            .iter()
            .flat_map(|rounds| rounds.rows(self.group.name, fastest))
            .chain(self.once.iter().cloned())
            .collect();
        for row in &mut rows {
            let counted = self.counts.get(&(row.case.clone(), row.subject.clone()));
            row.instructions = counted.copied().or(row.instructions);
        }
        rows
    }
}

/// Says how busy the machine was.
fn told(time: Time) -> Time {
    println!("\n  load: {} before, {} after", time.load[0], time.load[1]);
    time
}
