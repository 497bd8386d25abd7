//! Shards: disjoint parts of the documents, for independent runs that share the work.
//!
//! Documents are assigned to shards by content hash, so renaming or adding files moves none. Shards have about equally
//! many documents, and so about equally many pages.

use std::{fmt, str::FromStr};

/// Maximum number of shards.
const MAX_SHARDS: u32 = 100_000;

/// The `index`-th of `count` shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// At least 1.
    count: u32,
    /// From 1 to `count`.
    index: u32,
}

impl Shard {
    /// All documents.
    pub const WHOLE: Self = Self { count: 1, index: 1 };

    /// The `index`-th of `count` shards, counted from 1.
    ///
    /// # Errors
    /// There is no such shard; the message says why.
    pub fn new(index: u32, count: u32) -> Result<Self, String> {
        match (index, count) {
            (_, 0) => Err("the number of shards is 0".to_owned()),
            (_, MAX_SHARDS..) if count > MAX_SHARDS => Err(format!(
                "{count} shards are too many; use {MAX_SHARDS} or less"
            )),
            (0, _) => Err("shards count from 1".to_owned()),
            _ if index > count => Err(format!("there is no shard {index} of {count}")),
            _ => Ok(Self { count, index }),
        }
    }

    /// The number of shards.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// All shards of the same count.
    pub fn all(self) -> impl Iterator<Item = Self> {
        let count = self.count;
        (1..=count).map(move |index| Self { count, index })
    }

    /// Whether this is the only shard.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// Whether a document is in this shard: the first eight bytes of `key`, the document's SHA-256, as a big-endian
    /// number modulo the number of shards.
    #[must_use]
    pub fn has(self, key: &[u8; 16]) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *key;
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        number % u64::from(self.count) == u64::from(self.index - 1)
    }

    /// For file names, which sort like the shards: `02-of-16`.
    #[must_use]
    pub fn name(self) -> String {
        let Self { count, index } = self;
        let width = count.to_string().len();
        format!("{index:0width$}-of-{count}")
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let (index, count) = numbers.ok_or("use the shard and the number of shards, like 2/4")?;
        Self::new(index, count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn key(document: usize) -> [u8; 16] {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(document.to_le_bytes())[..16]);
        key
    }

    /// Page counts like those of office documents: half of them 6 or less, 10 on average, one in a thousand above 130.
    /// Drawn from a log-normal distribution by bytes of the key that don't choose the shard.
    fn pages(key: &[u8; 16]) -> usize {
        let uniform = |bytes: &[u8]| {
            let number = bytes
                .iter()
                .fold(0, |sum, &byte| (sum << 8) | u32::from(byte));
            (f64::from(number) + 0.5) / 2_f64.powi(32)
        };
        let (a, b) = (uniform(&key[8..12]), uniform(&key[12..]));
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        normal.exp().mul_add(6.0, 0.5).clamp(1.0, 1000.0) as usize
    }

    /// The largest relative deviation of a shard's pages from an even share, among `count` shards.
    fn imbalance(documents: &[[u8; 16]], count: u32) -> f64 {
        let all: usize = documents.iter().map(pages).sum();
        let even = all as f64 / f64::from(count);
        let shares = Shard { count, index: 1 }.all().map(|shard| {
            let own = documents.iter().filter(|key| shard.has(key));
            own.map(pages).sum::<usize>() as f64 / even - 1.0
        });
        shares.fold(0.0, |worst, share| worst.max(share.abs()))
    }

    #[test]
    fn shards_of_ten_thousand_documents_have_similar_page_counts() {
        let collections: Vec<Vec<_>> = (0..20)
            .map(|number| {
                (0..10_000)
                    .map(|document| key(number << 32 | document))
                    .collect()
            })
            .collect();
        for count in [2, 3, 4, 8, 16] {
            let mut worst: Vec<f64> = collections
                .iter()
                .map(|documents| imbalance(documents, count))
                .collect();
            worst.sort_by(f64::total_cmp);
            println!(
                "{count:2} shards of 10,000 documents: {:.1} % off at most, in the middle one of 20 collections",
                worst[10] * 100.0
            );
            // More shards have fewer documents each, and so vary more.
            assert!(count > 8 || worst[10] < 0.1, "{count} shards: {worst:?}");
        }
    }

    proptest! {
        #[test]
        fn each_document_is_in_exactly_one_shard(key in any::<[u8; 16]>(), count in 1..200_u32) {
            let shards = Shard { count, index: 1 }.all();
            prop_assert_eq!(shards.filter(|shard| shard.has(&key)).count(), 1);
        }

        #[test]
        fn printed_shards_parse_and_no_text_panics_the_parser(
            index in 0..9_u32, count in 0..9_u32, text in "[0-9/]{0,12}|.{0,9}",
        ) {
            let made = Shard::new(index, count);
            prop_assert_eq!(made.is_ok(), (1..=count).contains(&index));
            prop_assert_eq!(format!("{index}/{count}").parse(), made);
            if let Ok(shard) = text.parse::<Shard>() {
                prop_assert_eq!(shard.to_string().parse(), Ok(shard));
            }
        }
    }

    #[test]
    fn shard_names_sort_like_shards() {
        let names: Vec<_> = Shard::new(3, 12).unwrap().all().map(Shard::name).collect();
        assert_eq!(
            (names[0].as_str(), names[11].as_str()),
            ("01-of-12", "12-of-12")
        );
        assert!(names.is_sorted());
    }
}
