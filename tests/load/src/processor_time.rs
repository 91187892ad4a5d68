//! Processor time of processes, as Linux counts it: unlike rates, it hardly depends on what else the
//! machine is doing.

use std::path::Path;

use crate::Failure;

/// Linux counts in hundredths of a second, whatever its own clock does.
const TICK_US: u64 = 10_000;

/// Processor time used so far, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessorTime {
    pub(crate) engine_us: u64,
    /// The postmaster with all of its children.
    pub(crate) postgres_us: u64,
}

impl ProcessorTime {
    /// Of an engine and the PostgreSQL in its data folder.
    pub(crate) fn now(engine: u32, data: &Path) -> Result<Self, Failure> {
        let pid_file = std::fs::read_to_string(data.join("postgres/postmaster.pid"))?;
        let postmaster: u32 = pid_file.lines().next().ok_or("an empty postmaster.pid")?.trim().parse()?;
        let mut postgres_us = 0;
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process that has just ended is counted by its parent.
            let Ok(stat) = Stat::of(pid) else { continue };
            if pid == postmaster {
                postgres_us += stat.own_us + stat.ended_children_us;
            } else if stat.parent == postmaster {
                postgres_us += stat.own_us;
            }
        }
        Ok(Self { engine_us: Stat::of(engine)?.own_us, postgres_us })
    }
}

struct Stat {
    parent: u32,
    own_us: u64,
    ended_children_us: u64,
}

impl Stat {
    fn of(pid: u32) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may contain anything, so the fields are counted from behind its bracket.
        let (_, fields) = text.rsplit_once(')').ok_or("no process name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| -> Result<u64, Failure> {
            Ok(fields.get(index).ok_or("too few fields")?.parse()?)
        };
        Ok(Self {
            parent: u32::try_from(number(1)?)?,
            own_us: (number(11)? + number(12)?) * TICK_US,
            ended_children_us: (number(13)? + number(14)?) * TICK_US,
        })
    }
}
