//! Small scripts, run in this process: they look at files of their own and at values.

use super::*;

/// Runs a script without arguments; its error is its text.
fn run(text: &str) -> Result<(), String> {
    let name = std::ffi::OsStr::new("test");
    run_text(text.as_bytes(), name, &[], false).map_err(|error| error.to_string())
}

#[test]
fn scripts_are_given_numbers_as_such() {
    let text = b"assert(arg[1] == '<lua>' and arg[2] == 1 and arg[3] == 'a' and #arg == 3)";
    let name = std::ffi::OsStr::new("test");
    run_text(text, name, &[b"1".to_vec(), b"a".to_vec()], false).unwrap();
}

#[test]
fn versions_are_compared_as_rpm_does() {
    run("assert(rpm.vercmp('1.0-1', '1.0~rc1-1') == 1)
         assert(rpm.vercmp('1:1', '2') == 1 and rpm.vercmp('1.01', '1.1') == 0)
         local a, b = rpm.ver('5:1.0-2'), rpm.ver(3, '5a', 1)
         assert(b < a and a == rpm.ver('5:1.0-2') and a >= b)
         assert(a.e == '5' and a.v == '1.0' and a.r == '2' and tostring(a) == '5:1.0-2')")
    .unwrap();
    assert!(run("rpm.vercmp('', '1')").is_err());
}

#[test]
fn macros_and_encodings_are_there() {
    run("rpm.define('greeting hello')
         assert(rpm.expand('%{greeting} %{_libdir}') == 'hello /usr/lib64')
         assert(rpm.isdefined('greeting') and macros.greeting == 'hello')
         rpm.undefine('greeting')
         assert(not rpm.isdefined('greeting') and macros.greeting == nil)
         assert(rpm.b64decode(rpm.b64encode('blob')) == 'blob' and rpm.b64decode('?') == nil)
         assert(table.concat(rpm.splitargs(' a  b '), ',') == 'a,b')")
    .unwrap();
}

#[test]
fn files_are_made_changed_and_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "local p = '{}/'
         assert(posix.mkdir(p .. 'd') == 0)
         local nothing, why, number = posix.mkdir(p .. 'd')
         assert(nothing == nil and why == p .. 'd: File exists' and number == 17)
         local f = io.open(p .. 'd/f', 'w'); f:write('text'); f:close()
         assert(posix.chmod(p .. 'd/f', '0640') == 0)
         assert(posix.stat(p .. 'd/f', 'mode') == 'rw-r-----')
         assert(posix.stat(p .. 'd/f').size == 4 and posix.stat(p .. 'd').type == 'directory')
         assert(posix.symlink('f', p .. 'd/l') == 0 and posix.readlink(p .. 'd/l') == 'f')
         assert(posix.link(p .. 'd/f', p .. 'd/g') == 0 and posix.stat(p .. 'd/f').nlink == 2)
         assert(posix.stat(p .. 'd/l', 'type') == 'link')
         assert(table.concat(posix.dir(p .. 'd'), ' ') == '. .. f g l')
         local seen = 0; for name in posix.files(p .. 'd') do seen = seen + 1 end
         assert(seen == 5)
         assert(posix.access(p .. 'd/f', 'r') == 0 and posix.access(p .. 'nosuch') == nil)
         assert(posix.utime(p .. 'd/f', 7, 8) == 0 and posix.stat(p .. 'd/f', 'mtime') == 7)
         local file, path = posix.mkstemp(p .. 'tmpXXXXXX')
         assert(path == p .. 'tmp000000'); file:write('x'); file:close()
         assert(posix.unlink(path) == 0 and posix.unlink(path) == nil)
         assert(posix.rmdir(p .. 'd') == nil)
         assert(posix.getpasswd('root', 'uid') == 0 and posix.getgroup('root').gid == 0)",
        folder.path().display()
    );
    run(&text).unwrap();
}

#[test]
fn s19_a_script_ends_or_becomes_a_program_only_after_it_has_forked() {
    for text in ["os.exit(0)", "posix.exec('/bin/true')", "posix.redirect2null(1)"] {
        let error = run(text).unwrap_err();
        assert!(error.contains("not permitted in this context"), "{error}");
    }
    run("local fine, why = pcall(os.exit)
         assert(not fine and why == 'exit not permitted in this context')
         assert(rpm.execute('true') == 0)
         local nothing, why, status = rpm.execute('sh', '-c', 'exit 3')
         assert(nothing == nil and why == 'exit code' and status == 3)
         assert(rpm.execute('/no/such/program') == nil)")
    .unwrap();
}

#[test]
fn s19_a_script_that_takes_too_much_memory_is_stopped() {
    let error = run("local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1 << 20) .. i end");
    assert!(error.unwrap_err().contains("memory"));
    run("local s = string.rep('x', 1 << 20)").unwrap();
}

#[test]
fn what_is_no_lua_fails_with_its_reason() {
    assert!(run("this is no lua").unwrap_err().contains("syntax error"));
    assert!(run("error('told')").unwrap_err().contains("told"));
    let words = ["osbuilder", "build"].map(OsString::from);
    assert!(super::run(words.into_iter()).is_none());
    let words = ["osbuilder", WORD, WITHOUT_PATHS, "/etc/passwd"].map(OsString::from);
    assert!(matches!(super::run(words.into_iter()), Some(Err(Error::NoScript))));
}
