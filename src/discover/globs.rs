//! Globs that select files in folders.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A set of globs. A glob with a `/` is matched against the path below the given folder, one without against the name.
#[derive(Debug, Clone)]
pub struct Globs {
    names: GlobSet,
    paths: GlobSet,
}

impl Globs {
    /// Compiles globs: `*` stops at `/`, `**` does not, `{a,b}` is an alternative.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, globset::Error> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in globs.iter().map(AsRef::as_ref) {
            let set = if glob.contains('/') {
                &mut paths
            } else {
                &mut names
            };
            set.add(
                GlobBuilder::new(glob.trim_start_matches("./"))
                    .literal_separator(true)
                    .build()?,
            );
        }
        Ok(Self {
            names: names.build()?,
            paths: paths.build()?,
        })
    }

    /// Whether a glob matches `path`, which is below `folder`.
    #[must_use]
    pub fn match_below(&self, folder: &Path, path: &Path) -> bool {
        self.paths
            .is_match(path.strip_prefix(folder).unwrap_or(path))
            || path
                .file_name()
                .is_some_and(|name| self.names.is_match(name))
    }
}
