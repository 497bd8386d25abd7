//! Files beside an output, links, and atomic replacement.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use tempfile::NamedTempFile;

/// Maximum length of a chain of links.
const MAX_LINKS: usize = 40;

/// The target of a path through all links, existing or not. So a link stays a link, and files kept beside an output are
/// beside its target, whatever name it is given by.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let mut file = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&file) {
            Ok(target) => file = folder_of(&file).join(target),
            // What looks like a link and is none, like that to a deleted file in /proc, is what it was called.
            Err(_) if path.exists() && !file.exists() => return path.to_owned(),
            Err(_) => return file,
        }
    }
    path.to_owned()
}

/// Replaces a file atomically by what `write` writes: readers see the old file or the new one, also after a power cut.
///
/// # Errors
/// The folder can't be written to, or the error of `write`.
pub fn put_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    let folder = folder_of(path);
    let put = || -> Result<()> {
        let mut file = new_beside(folder)?;
        let mut buffered = BufWriter::new(file.as_file_mut());
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)?;
        Ok(())
    };
    put().map_err(|error| {
        let kind = error.downcast_ref().map(io::Error::kind);
        let refused = matches!(
            kind,
            Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
        );
        let advice = if refused {
            format!(
                "; make the folder {} writable, or use another one",
                folder.display()
            )
        } else {
            String::new()
        };
        error.context(format!("cannot write {}{advice}", path.display()))
    })
}

/// A temporary file with the usual permissions of new files.
fn new_beside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The file beside `journal` with `suffix` appended to its name.
pub(super) fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Syncs a folder, so that new and renamed files survive a power cut. Only Unix can open folders for that.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_resolve_to_their_target_even_if_missing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("far")).unwrap();
        symlink("far/one", at("link")).unwrap();
        symlink(at("two"), at("far/one")).unwrap();
        assert_eq!(resolve(&at("link")), at("two"));
        fs::write(at("two"), "").unwrap();
        assert_eq!(resolve(&at("link")), at("two"));
        assert_eq!(resolve(&at("plain")), at("plain"));
        symlink("loop", at("loop")).unwrap();
        assert_eq!(resolve(&at("loop")), at("loop"));
    }

    #[test]
    fn failed_replacement_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let ended = put_whole(&path, |_| anyhow::bail!("the disk is gone"));
        assert!(ended.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
