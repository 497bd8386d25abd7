//! The shard, from `--shard` or the variables of a scheduler.

use std::env;

use super::usage::usage_error;
use crate::{exit::UsageError, shard::Shard};

/// The number of shards, for schedulers that don't set it.
const SHARDS: &str = "OMNIDOCS_SHARDS";

/// A shard, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The shard.
    pub shard: Shard,
    /// Its origin: `--shard`, or the variables of a scheduler.
    pub by: String,
}

/// The given shard, else that of the scheduler's array, else `None`.
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
            "{SHARDS}={count} sets the number of shards, but nothing says which shard this is; add --shard I/{count}"
        ))
    } else {
        Ok(None)
    }
}

/// A Slurm array: `0-3`, `1-4`, `10-40:10`.
///
/// A list with gaps or a single task can't be mapped to shards: it is more likely the rest of a larger array, whose
/// other tasks have read other shards.
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
            "{by}: a single task does not show the number of shards; add --shard I/N, or --shard 1/1 to read everything"
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
            "{by}: the task ids are not evenly spaced, so they may be the rest of a larger array; add --shard I/N"
        )),
    }
}

/// The shard with the 0-based `index`, of the number in the first variable of `counts` that is set.
fn counted_from_zero(get: Variables, index: &str, counts: &[&str]) -> Result<Assigned, UsageError> {
    let place = number(get, index)?;
    let Some(name) = counts.iter().find(|name| get(name).is_some()) else {
        return usage_error(format!(
            "{index}={place} sets the shard, but not the number of shards; set {SHARDS}, or add --shard I/N"
        ));
    };
    let count = number(get, name)?;
    assigned(place, count, format!("{index}={place} and {name}={count}"))
}

fn assigned(place: u32, count: u32, by: String) -> Result<Assigned, UsageError> {
    match Shard::new(place.saturating_add(1), count) {
        Ok(shard) => Ok(Assigned { shard, by }),
        Err(error) => usage_error(format!("{by}: {error}; add --shard I/N")),
    }
}

fn number(get: Variables, name: &str) -> Result<u32, UsageError> {
    let value = get(name).unwrap_or_default();
    match value.parse() {
        Ok(number) => Ok(number),
        Err(_) if value.is_empty() => usage_error(format!(
            "{name} is not set, but other variables of its scheduler are; add --shard I/N"
        )),
        Err(_) => usage_error(format!("{name}={value} is not a number; add --shard I/N")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shard for `NAME=value …`, or the error.
    fn detect(variables: &str) -> Result<String, String> {
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
        detect(&format!(
            "SLURM_ARRAY_TASK_ID={task} SLURM_ARRAY_TASK_MIN={first} SLURM_ARRAY_TASK_MAX={last} SLURM_ARRAY_TASK_COUNT={count}"
        ))
    }

    #[test]
    fn slurm_arrays_may_have_any_start_and_step() {
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
            assert_eq!(detect(variables).as_deref(), Ok(part), "{variables}");
        }
    }

    #[test]
    fn invalid_scheduler_variables_are_named() {
        for (error, name, hint) in [
            (slurm(5, 5, 5, 1), "SLURM_ARRAY_TASK_ID=5", "a single task"),
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
            (
                slurm(9, 1, 4, 4),
                "SLURM_ARRAY_TASK_ID=9",
                "no shard 9 of 4",
            ),
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
                detect("SLURM_ARRAY_TASK_ID=x"),
                "SLURM_ARRAY_TASK_ID=x",
                "not a number",
            ),
            (
                detect("SLURM_ARRAY_TASK_ID=1"),
                "SLURM_ARRAY_TASK_MIN",
                "not set",
            ),
            (
                detect("JOB_COMPLETION_INDEX=1"),
                "JOB_COMPLETION_INDEX=1",
                "set OMNIDOCS_SHARDS",
            ),
            (
                detect("JOB_COMPLETION_INDEX=4 OMNIDOCS_SHARDS=4"),
                "JOB_COMPLETION_INDEX=4",
                "no shard 5 of 4",
            ),
            (
                detect("AWS_BATCH_JOB_ARRAY_INDEX=-1 OMNIDOCS_SHARDS=4"),
                "AWS_BATCH_JOB_ARRAY_INDEX=-1",
                "not a number",
            ),
            (
                detect("OMNIDOCS_SHARDS=4"),
                "OMNIDOCS_SHARDS=4",
                "add --shard I/4",
            ),
        ] {
            let error = error.unwrap_err();
            assert!(error.contains(name) && error.contains(hint), "{error}");
        }
    }
}
