//! Which part of the documents this run is for, as a scheduler's own variables tell it.

use std::env;

use super::usage::usage_error;
use crate::{exit::UsageError, shard::Shard};

/// How many parts there are, where the scheduler doesn't say.
const SHARDS: &str = "OMNIDOCS_SHARDS";

/// A part, and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The part.
    pub shard: Shard,
    /// What says so: `--shard`, or the variables of a scheduler.
    pub by: String,
}

/// The part that was typed, or else that of the scheduler's array; none if there is neither.
pub(super) fn shard(typed: Option<Shard>) -> Result<Option<Assigned>, UsageError> {
    match typed {
        Some(shard) => Ok(Some(Assigned {
            shard,
            by: "--shard".to_owned(),
        })),
        None => of_scheduler(&|name| env::var(name).ok().filter(|value| !value.is_empty())),
    }
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

fn of_scheduler(get: Variables) -> Result<Option<Assigned>, UsageError> {
    let kubernetes = "JOB_COMPLETION_INDEX";
    let aws = "AWS_BATCH_JOB_ARRAY_INDEX";
    if get("SLURM_ARRAY_TASK_ID").is_some() {
        slurm(get).map(Some)
    } else if get(kubernetes).is_some() {
        counted_from_zero(get, kubernetes, &[SHARDS]).map(Some)
    } else if get(aws).is_some() {
        counted_from_zero(get, aws, &["AWS_BATCH_JOB_ARRAY_SIZE", SHARDS]).map(Some)
    } else if let Some(count) = get(SHARDS) {
        usage_error(format!(
            "{SHARDS}={count} says how many parts there are, but nothing says which of them this is; give --shard I/{count}"
        ))
    } else {
        Ok(None)
    }
}

/// An array of Slurm: `0-3`, `1-4`, `10-40:10`.
///
/// A list with gaps, or one task alone, is no array that can be divided by: it is more likely what is left of a larger
/// one, and each of its tasks would then read what others have read.
fn slurm(get: Variables) -> Result<Assigned, UsageError> {
    let names = ["ID", "MIN", "MAX", "COUNT"].map(|name| format!("SLURM_ARRAY_TASK_{name}"));
    let [task, first, last, count] = [
        number(get, &names[0])?,
        number(get, &names[1])?,
        number(get, &names[2])?,
        number(get, &names[3])?,
    ];
    let by = format!("SLURM_ARRAY_TASK_ID={task} of {count} from {first} to {last}");
    if count < 2 {
        return usage_error(format!(
            "{by}: one task alone does not tell how many parts there are; give --shard I/N, or --shard 1/1 to read all"
        ));
    }
    let tasks = count - 1;
    let step = last.saturating_sub(first) / tasks;
    let place = task.saturating_sub(first).checked_div(step);
    match place.map(|place| (place, first + place * step)) {
        Some((place, there)) if there == task && first + tasks * step == last => {
            assigned(place, count, by)
        }
        _ => usage_error(format!(
            "{by}: these tasks are not evenly spaced, so they may be what is left of a larger array; give --shard I/N"
        )),
    }
}

/// A part that is counted from 0 in `index`, of as many as the first of `counts` that is there says.
fn counted_from_zero(get: Variables, index: &str, counts: &[&str]) -> Result<Assigned, UsageError> {
    let place = number(get, index)?;
    let Some(name) = counts.iter().find(|name| get(name).is_some()) else {
        return usage_error(format!(
            "{index}={place} says which part this is, but not of how many; set {SHARDS}, or give --shard I/N"
        ));
    };
    let count = number(get, name)?;
    assigned(place, count, format!("{index}={place} and {name}={count}"))
}

fn assigned(place: u32, count: u32, by: String) -> Result<Assigned, UsageError> {
    match Shard::new(place.saturating_add(1), count) {
        Ok(shard) => Ok(Assigned { shard, by }),
        Err(error) => usage_error(format!("{by}: {error}; give --shard I/N")),
    }
}

fn number(get: Variables, name: &str) -> Result<u32, UsageError> {
    let value = get(name).unwrap_or_default();
    match value.parse() {
        Ok(number) => Ok(number),
        Err(_) if value.is_empty() => usage_error(format!(
            "{name} is not set, though other variables of its scheduler are; give --shard I/N"
        )),
        Err(_) => usage_error(format!("{name}={value} is not a number; give --shard I/N")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part that `NAME=value …` stand for, or what is said to them.
    fn told(variables: &str) -> Result<String, String> {
        let get = |name: &str| {
            let mut set = variables.split(' ').filter_map(|set| set.split_once('='));
            set.find(|set| set.0 == name).map(|set| set.1.to_owned())
        };
        match of_scheduler(&get) {
            Ok(assigned) => Ok(assigned.map_or("none".to_owned(), |of| of.shard.to_string())),
            Err(error) => Err(error.0),
        }
    }

    fn slurm(task: u32, first: u32, last: u32, count: u32) -> Result<String, String> {
        told(&format!(
            "SLURM_ARRAY_TASK_ID={task} SLURM_ARRAY_TASK_MIN={first} SLURM_ARRAY_TASK_MAX={last} SLURM_ARRAY_TASK_COUNT={count}"
        ))
    }

    #[test]
    fn arrays_start_where_they_like_and_may_have_a_step() {
        for (task, first, last, count, part) in [
            (0, 0, 3, 4, "1/4"),
            (3, 0, 3, 4, "4/4"),
            (1, 1, 4, 4, "1/4"),
            (12, 10, 14, 5, "3/5"),
            (7, 1, 10, 4, "3/4"),
            (30, 10, 40, 4, "3/4"),
        ] {
            assert_eq!(
                slurm(task, first, last, count).as_deref(),
                Ok(part),
                "{task}"
            );
        }
    }

    #[test]
    fn kubernetes_and_aws_count_from_zero() {
        for (variables, part) in [
            ("", "none"),
            ("JOB_COMPLETION_INDEX=0 OMNIDOCS_SHARDS=3", "1/3"),
            ("JOB_COMPLETION_INDEX=2 OMNIDOCS_SHARDS=3", "3/3"),
            (
                "AWS_BATCH_JOB_ARRAY_INDEX=4 AWS_BATCH_JOB_ARRAY_SIZE=5",
                "5/5",
            ),
            ("AWS_BATCH_JOB_ARRAY_INDEX=4 OMNIDOCS_SHARDS=6", "5/6"),
        ] {
            assert_eq!(told(variables).as_deref(), Ok(part), "{variables}");
        }
    }

    #[test]
    fn variables_that_make_no_sense_are_named() {
        for (told, name, hint) in [
            (slurm(5, 5, 5, 1), "SLURM_ARRAY_TASK_ID=5", "one task alone"),
            (
                slurm(2, 1, 7, 3),
                "SLURM_ARRAY_TASK_ID=2",
                "not evenly spaced",
            ),
            (
                slurm(1, 1, 8, 3),
                "SLURM_ARRAY_TASK_ID=1",
                "not evenly spaced",
            ),
            (slurm(9, 1, 4, 4), "SLURM_ARRAY_TASK_ID=9", "no part 9 of 4"),
            (
                slurm(0, 1, 4, 4),
                "SLURM_ARRAY_TASK_ID=0",
                "not evenly spaced",
            ),
            (
                slurm(1, 4, 1, 4),
                "SLURM_ARRAY_TASK_ID=1",
                "not evenly spaced",
            ),
            (
                told("SLURM_ARRAY_TASK_ID=x"),
                "SLURM_ARRAY_TASK_ID=x",
                "not a number",
            ),
            (
                told("SLURM_ARRAY_TASK_ID=1"),
                "SLURM_ARRAY_TASK_MIN",
                "not set",
            ),
            (
                told("JOB_COMPLETION_INDEX=1"),
                "JOB_COMPLETION_INDEX=1",
                "set OMNIDOCS_SHARDS",
            ),
            (
                told("JOB_COMPLETION_INDEX=4 OMNIDOCS_SHARDS=4"),
                "JOB_COMPLETION_INDEX=4",
                "no part 5 of 4",
            ),
            (
                told("AWS_BATCH_JOB_ARRAY_INDEX=-1 OMNIDOCS_SHARDS=4"),
                "AWS_BATCH_JOB_ARRAY_INDEX=-1",
                "not a number",
            ),
            (
                told("OMNIDOCS_SHARDS=4"),
                "OMNIDOCS_SHARDS=4",
                "give --shard I/4",
            ),
        ] {
            let told = told.unwrap_err();
            assert!(told.contains(name) && told.contains(hint), "{told}");
        }
    }
}
