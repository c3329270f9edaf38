//! The served folder, and opening what is in it without ever leaving it.
//!
//! Each step of a path is opened relative to the one before and without following links, so that
//! nothing outside the folder is ever opened, whatever changes meanwhile. Where a link is met, its
//! target is worked out; if that is in the folder it is opened in the same way, and refused if it
//! is not. `openat2` would do it in one call, but cannot serve an absolute link that points inside,
//! and is missing in sandboxes that filter or emulate system calls.

use std::fs::{File, Metadata};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{ffi::OsString, io};

use hyper::StatusCode;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::errors::Fault;

/// The folder that is served.
pub(crate) struct Root {
    folder: OwnedFd,
    /// Where it really is, to tell whether the target of a link lies in it.
    path: PathBuf,
}

/// What a path led to.
pub(crate) enum Opened {
    File(File, Metadata),
    Folder(File, Metadata),
}

impl Root {
    /// Opens the folder to be served.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, &path, flags, Mode::empty())?;
        Ok(Self { folder, path })
    }

    /// Opens the file or folder at `path`, which has no empty, `.` or `..` segments; an empty path
    /// is the root.
    ///
    /// Pipes, sockets and devices are refused without being opened: a pipe's writer would take this
    /// for its reader. If one is put in a file's place between the look and the opening it is opened
    /// without waiting, and refused.
    pub(crate) fn get(&self, path: &[u8]) -> Result<Opened, Fault> {
        let file = match self.walk(path) {
            // A link, here or on the way; but ENOTDIR may also mean what it says.
            Err(Errno::LOOP | Errno::NOTDIR) => self.follow(path)?,
            Err(Errno::NXIO) => return Err(neither()),
            other => File::from(other?),
        };
        let meta = file.metadata()?;
        if meta.is_file() {
            Ok(Opened::File(file, meta))
        } else if meta.is_dir() {
            Ok(Opened::Folder(file, meta))
        } else {
            Err(neither())
        }
    }

    /// Opens `path` one segment at a time, following no link: `LOOP` where it is one, `NXIO` where it
    /// is neither a file nor a folder.
    fn walk(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let last =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // `O_PATH` asks for no right to read a folder that is only passed through.
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.is_empty() {
            return openat(&self.folder, c".", last, Mode::empty());
        }
        let mut here: Option<OwnedFd> = None;
        let mut names = path.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            let from = here.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            let is_last = names.peek().is_none();
            if is_last {
                let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile | FileType::Directory => {}
                    FileType::Symlink => return Err(Errno::LOOP),
                    _ => return Err(Errno::NXIO),
                }
            }
            let flags = if is_last { last } else { step };
            here = Some(openat(from, name, flags, Mode::empty())?);
        }
        here.ok_or(Errno::NOENT)
    }

    /// Opens what a path with links in it stands for, if that is in the folder. Links are rare, so
    /// this may use the heap.
    fn follow(&self, path: &[u8]) -> Result<File, Fault> {
        let full = self.path.join(OsString::from_vec(path.to_vec()));
        let real = full.canonicalize()?;
        let Ok(inside) = real.strip_prefix(&self.path) else {
            return Err(Fault::new(StatusCode::FORBIDDEN, "a link leads out of the served folder"));
        };
        // Were a link put in its place meanwhile, this meets it and stops.
        Ok(File::from(self.walk(inside.as_os_str().as_bytes())?))
    }
}

fn neither() -> Fault {
    Fault::new(StatusCode::FORBIDDEN, "neither a file nor a folder")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn status(root: &Root, path: &[u8]) -> u16 {
        match root.get(path) {
            Ok(_) => 200,
            Err(fault) => fault.status().as_u16(),
        }
    }

    #[test]
    fn links_are_followed_inside_the_folder_only() -> io::Result<()> {
        let outside = tempfile::tempdir()?;
        std::fs::write(outside.path().join("secret"), "x")?;
        let dir = tempfile::tempdir()?;
        let path = dir.path();
        std::fs::create_dir(path.join("a"))?;
        std::fs::write(path.join("a/file"), "x")?;
        symlink("a/file", path.join("relative"))?;
        symlink(path.join("a/file"), path.join("absolute"))?;
        symlink("a", path.join("folder"))?;
        symlink(outside.path().join("secret"), path.join("out"))?;
        symlink(outside.path(), path.join("outdir"))?;
        symlink("..", path.join("up"))?;
        symlink("loop", path.join("loop"))?;
        symlink("nowhere", path.join("dangling"))?;
        let root = Root::open(path)?;
        for inside in
            [&b""[..], b"a", b"a/file", b"relative", b"absolute", b"folder", b"folder/file"]
        {
            assert_eq!(status(&root, inside), 200, "{}", inside.escape_ascii());
        }
        for (path, expected) in [
            (&b"out"[..], 403),
            (b"outdir", 403),
            (b"outdir/secret", 403),
            (b"up", 403),
            (b"loop", 403),
            (b"dangling", 404),
            (b"a/file/further", 404),
            (b"missing", 404),
        ] {
            assert_eq!(status(&root, path), expected, "{}", path.escape_ascii());
        }
        assert_eq!(status(&root, &[b'a'; 300]), 414);
        Ok(())
    }
}
