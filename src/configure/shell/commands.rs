//! The table of the commands that every system has.

use super::{Handler, attributes, copy, files, grep, links, sed, text};

/// Finds a command's code by its name.
pub(in crate::configure) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "mkdir" => files::mkdir,
        "rmdir" => files::rmdir,
        "rm" | "unlink" => files::rm,
        "mktemp" => files::mktemp,
        "stat" => files::stat,
        "ls" => files::ls,
        "sync" | "sleep" | "restorecon" | "chattr" => files::nothing,
        "ln" => links::ln,
        "readlink" => links::readlink,
        "realpath" => links::realpath,
        "basename" => links::basename,
        "dirname" => links::dirname,
        "cp" => copy::cp,
        "mv" => copy::mv,
        "install" => copy::install,
        "chmod" => attributes::chmod,
        "chown" => attributes::chown,
        "chgrp" => attributes::chgrp,
        "touch" => attributes::touch,
        "cat" => text::cat,
        "cut" => text::cut,
        "tr" => text::tr,
        "head" => text::head,
        "tail" => text::tail,
        "sort" => text::sort,
        "uniq" => text::uniq,
        "wc" => text::wc,
        "seq" => text::seq,
        "cmp" => text::cmp,
        "md5sum" => text::md5sum,
        "uname" => text::uname,
        "date" => text::date,
        "env" => text::env,
        "id" => text::id,
        "grep" | "fgrep" | "egrep" => grep::grep,
        "sed" => sed::sed,
        _ => return None,
    })
}
