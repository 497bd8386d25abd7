//! What a run need not do, since an earlier one has done it.

use std::{collections::HashSet, fs::Metadata, path::Path, time::SystemTime};

use super::{
    Target,
    hashes::Hashes,
    scan::{PageKey, Recorded},
};
use crate::{page::Document, prepare::Done, record::Status, shard::Shard};

/// The pages that a run leaves as they are.
pub struct Resume {
    recorded: Recorded,
    retry_failed: bool,
    /// The documents that this run has met.
    met: HashSet<PageKey>,
    hashes: Hashes,
    shard: Shard,
}

impl Resume {
    /// Leaves all that is `recorded` in `output`, or with `retry_failed` all but what failed. The checksums of files that
    /// are read are kept beside the output.
    #[must_use]
    pub fn new(output: &Target, recorded: Recorded, retry_failed: bool) -> Self {
        Self::with(hashes(output, Hashes::open), recorded, retry_failed)
    }

    /// The same, but nothing is kept.
    #[must_use]
    pub fn peek(output: &Target, recorded: Recorded, retry_failed: bool) -> Self {
        Self::with(hashes(output, Hashes::peek), recorded, retry_failed)
    }

    fn with(hashes: Hashes, recorded: Recorded, retry_failed: bool) -> Self {
        Self {
            recorded,
            retry_failed,
            met: HashSet::new(),
            hashes,
            shard: Shard::WHOLE,
        }
    }

    /// Leaves also all documents that are not in `shard`. One whose bytes can't be read is in all: what fails here may be
    /// read elsewhere and found to be in this shard, and then nobody would have told of it.
    #[must_use]
    pub fn of_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }
}

/// The checksums beside an output, if that is a file.
fn hashes(output: &Target, of: impl FnOnce(&Path) -> Hashes) -> Hashes {
    match output {
        Target::File(path) if path.is_file() => of(path),
        _ => Hashes::default(),
    }
}

fn key_of(document: &Document, page: u32) -> PageKey {
    PageKey::new(
        document.doc_id.as_deref(),
        &document.path.to_string_lossy(),
        page,
    )
}

impl Done for Resume {
    fn is_done(&self, document: &Document, page: u32) -> bool {
        let status = self.recorded.status(&key_of(document, page));
        status.is_some_and(|status| !(self.retry_failed && status == Status::Failed))
    }

    fn page_count(&self, document: &Document) -> Option<u32> {
        self.recorded.page_count(&key_of(document, 0))
    }

    fn is_elsewhere(&self, document: &Document) -> bool {
        document.doc_id.is_some() && !self.shard.has(&key_of(document, 0).document)
    }

    fn is_copy(&mut self, document: &Document) -> bool {
        !self.met.insert(key_of(document, 0))
    }

    fn checksum(&self, file: &Metadata) -> Option<&str> {
        self.hashes.get(file)
    }

    fn note_checksum(&mut self, file: &Metadata, at: SystemTime, checksum: &str) {
        self.hashes.add(file, at, checksum);
    }
}
