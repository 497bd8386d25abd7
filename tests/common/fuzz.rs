//! Feeds damaged copies of valid input to what reads it: for half a second, or for a minute with `OMNIDOCS_LONG_TESTS`.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;

/// Lengths, counts and numbers that programs get wrong.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "1e999",
    "-0.5",
    "99999999999999999999999",
];
/// Maximum length of an input, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// Calls `read` with damaged copies of `valid` until the time is up. Prints how often, and what it was called with where
/// it panics.
pub fn feed(what: &str, valid: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
    let long = env::var_os("OMNIDOCS_LONG_TESTS").is_some();
    let time = if long {
        Duration::from_secs(60)
    } else {
        Duration::from_millis(500)
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = now.map_or(0, |since| since.as_nanos() as u64);
    let mut random = Rng::with_seed(seed);
    let (begin, mut count) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        let bytes = damaged(valid, &mut random);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&bytes))) {
            println!(
                "{what}, seed {seed}, input {count}: {}",
                bytes.escape_ascii()
            );
            resume_unwind(panic);
        }
        count += 1;
    }
    println!("fuzz: {what}: {count} executions");
}

fn damaged(valid: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut bytes = valid[random.usize(..valid.len())].clone();
    for _ in 0..random.usize(1..6) {
        damage(&mut bytes, &valid[random.usize(..valid.len())], random);
    }
    bytes.truncate(MAX_LENGTH);
    bytes
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    let end = (at + random.usize(..64)).min(bytes.len());
    match random.u8(..9) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        3 => {
            let from = random.usize(..=other.len());
            let to = (from + random.usize(..64)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        4 => replace_number(bytes, at, random),
        5 => bytes.splice(at..at, [b'['; 200]).for_each(drop),
        6 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
        7 if at < bytes.len() => bytes[at] = random.u8(..),
        _ => bytes.insert(
            at,
            *random.choice(b"\0\n\r\"\\{}[],:/\xff\x80").unwrap_or(&0),
        ),
    }
}

/// Puts another number in the place of the first one from `at` on.
fn replace_number(bytes: &mut Vec<u8>, at: usize, random: &mut Rng) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = bytes[at..]
        .iter()
        .position(is_digit)
        .map(|place| at + place)
    else {
        return;
    };
    let length = bytes[start..]
        .iter()
        .take_while(|byte| is_digit(byte))
        .count();
    let number = NUMBERS[random.usize(..NUMBERS.len())];
    bytes.splice(start..start + length, number.bytes());
}
