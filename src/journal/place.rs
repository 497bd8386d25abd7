//! Files beside an output, and how a file gets its name: at one stroke, and through links.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use tempfile::NamedTempFile;

/// A chain of links is not followed further.
const MAX_LINKS: usize = 40;

/// The file that is meant by a path: what a link leads to, whether that is there or not. So a link stays a link, and all
/// that is kept beside an output is beside the file itself, whatever name it is given by.
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

/// Puts what `write` writes in the place of a file at one stroke: whoever reads it sees the old one or the new one, whole,
/// also after a power cut.
pub(super) fn put_whole(
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
                "; make the folder {} writable, or write to another one",
                folder.display()
            )
        } else {
            String::new()
        };
        error.context(format!("can't write {}{advice}", path.display()))
    })
}

/// A file without a name of its own yet, which may be read by whoever may read other files that are made here.
fn new_beside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The file beside `journal` whose name is longer by `suffix`.
pub(super) fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes new and renamed files survive a power cut; a folder can be opened for that on Unix alone.
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
    fn links_are_followed_to_their_end_also_where_nothing_is_there() {
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
    fn a_file_that_can_t_be_finished_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let ended = put_whole(&path, |_| anyhow::bail!("the disk is gone"));
        assert!(ended.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
