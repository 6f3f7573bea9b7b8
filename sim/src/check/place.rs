//! Which test is calling: its name, its package, where its source is, and the line that runs it alone.
//!
//! Cargo and cargo-nextest tell a test what package it is from; the harness names the thread after the test. Where a
//! test has no thread of its own its name comes from the command line or from the name of its closure's type.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The test, as the harness names it.
    pub(super) test: String,
    /// The package, if that is known.
    pub(super) package: Option<String>,
    /// Where the package is.
    manifest_dir: Option<PathBuf>,
    /// The source file of the call, as the compiler was given it.
    file: PathBuf,
    target: Target,
    harness: Harness,
}

/// What was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Lib,
    Bin(String),
    Test(String),
    Example(String),
    Bench(String),
    /// Not known; this is the program.
    Program(PathBuf),
}

/// Who runs tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harness {
    Cargo,
    Nextest,
}

impl Caller {
    /// The test that calls from `location` with a closure of type `F`.
    pub(super) fn of<F>(location: &Location<'_>) -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let harness = if var("NEXTEST").is_some() { Harness::Nextest } else { Harness::Cargo };
        let test = var("NEXTEST_TEST_NAME")
            .or_else(|| std::thread::current().name().filter(|name| *name != "main").map(str::to_owned))
            .or_else(|| exact_argument(std::env::args()))
            .unwrap_or_else(|| name_of_closure(type_name::<F>()));
        let manifest_dir = var("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = var("CARGO_PKG_NAME");
        let file = PathBuf::from(location.file());
        let program = std::env::current_exe().unwrap_or_default();
        let target = target(&file, &program, manifest_dir.as_deref(), package.as_deref());
        Self { test, package, manifest_dir, file, target, harness }
    }

    /// The test's name; its second check and so on has a number behind it, so that their cases are told apart.
    pub(super) fn program(&self) -> String {
        thread_local! {
            static CHECKS: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) };
        }
        let number = CHECKS.with_borrow_mut(|checks| {
            let number = checks.entry(self.test.clone()).or_default();
            *number += 1;
            *number
        });
        if number == 1 { self.test.clone() } else { format!("{}#{number}", self.test) }
    }

    /// The line that runs this test alone, with `variables` set.
    pub(super) fn command(&self, variables: &str) -> String {
        let (package, test) = (self.package.as_deref().unwrap_or_default(), quoted(&self.test));
        let target = match &self.target {
            Target::Lib => "--lib".to_owned(),
            Target::Bin(name) => format!("--bin {name}"),
            Target::Test(name) => format!("--test {name}"),
            Target::Example(name) => format!("--example {name}"),
            Target::Bench(name) => format!("--bench {name}"),
            Target::Program(path) => {
                return format!("{variables} {} --exact {test}", quoted(&path.display().to_string()))
                    .trim_start()
                    .to_owned();
            }
        };
        let command = match self.harness {
            Harness::Cargo => format!("{variables} cargo test -p {package} {target} -- --exact {test}"),
            Harness::Nextest => {
                let filter = quoted(&format!("test(={})", self.test));
                format!("{variables} cargo nextest run -p {package} {target} -E {filter}")
            }
        };
        command.trim_start().to_owned()
    }

    /// The directory of the regressions of this test's source file, as it is written in reports and as it is found.
    pub(super) fn regressions(&self) -> (PathBuf, PathBuf) {
        let stem = self.file.file_stem().unwrap_or_default();
        let shown = self.file.parent().unwrap_or(Path::new("")).join("simvisor-regressions").join(stem);
        let source = self.bases().map(|base| base.join(&self.file)).find(|path| path.is_file());
        let found = match (source, &self.manifest_dir) {
            (Some(source), _) => {
                source.parent().unwrap_or(Path::new("")).join("simvisor-regressions").join(stem)
            }
            (None, Some(package)) => package.join("simvisor-regressions").join(stem),
            (None, None) => shown.clone(),
        };
        (shown, found)
    }

    /// The file that a user means by `path`: from here, from the package, or from a directory around it. What is found
    /// nowhere stays as it is.
    pub(super) fn find(&self, path: &Path) -> PathBuf {
        self.bases().map(|base| base.join(path)).find(|path| path.exists()).unwrap_or_else(|| path.to_owned())
    }

    /// The compiler is started in the root of a workspace, tests in their package.
    fn bases(&self) -> impl Iterator<Item = &Path> {
        let package = self.manifest_dir.as_deref();
        std::iter::once(Path::new("")).chain(package.into_iter().flat_map(Path::ancestors))
    }
}

/// The name after `--exact`, or before it, that a harness was given.
fn exact_argument(arguments: impl Iterator<Item = String>) -> Option<String> {
    let arguments: Vec<_> = arguments.skip(1).collect();
    let is_exact = arguments.iter().any(|argument| argument == "--exact");
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-'));
    let name = names.next().filter(|_| is_exact && names.next().is_none());
    name.cloned()
}

/// `shop::orders::are_paid::{{closure}}` is made in the test `orders::are_paid` of the crate `shop`.
fn name_of_closure(closure: &str) -> String {
    let path = closure.split("::{{closure}}").next().unwrap_or(closure);
    path.split_once("::").map_or(path, |(_, path)| path).to_owned()
}

fn target(file: &Path, program: &Path, manifest_dir: Option<&Path>, package: Option<&str>) -> Target {
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    // `name-0123456789abcdef`
    let name = match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => name,
        _ => return Target::Program(program.to_owned()),
    };
    let Some(package) = package else { return Target::Program(program.to_owned()) };
    let is_in = |folder: &str| file.iter().any(|part| part == folder);
    // A target's file is named with dashes or without; a program is always without.
    let declared = |folder: &str| {
        let entries = manifest_dir.and_then(|base| std::fs::read_dir(base.join(folder)).ok());
        let names = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        names.into_iter().find(|known| known.replace('-', "_") == name).unwrap_or_else(|| name.to_owned())
    };
    if is_in("tests") {
        Target::Test(declared("tests"))
    } else if is_in("examples") && !is_in("src") {
        Target::Example(declared("examples"))
    } else if is_in("benches") {
        Target::Bench(declared("benches"))
    } else if file.ends_with("src/main.rs") || is_in("bin") {
        Target::Bin(if name == package.replace('-', "_") { package.to_owned() } else { declared("src/bin") })
    } else {
        Target::Lib
    }
}

/// As a shell takes it for one word.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(target: Target, harness: Harness) -> Caller {
        Caller {
            test: "orders::are_paid".to_owned(),
            package: Some("shop".to_owned()),
            manifest_dir: None,
            file: PathBuf::from("tests/money.rs"),
            target,
            harness,
        }
    }

    #[test]
    fn a_command_runs_one_test_of_one_target() {
        let command = |target, harness| caller(target, harness).command("SIMVISOR_SEED=0x2a");
        assert_eq!(
            command(Target::Test("money".to_owned()), Harness::Cargo),
            "SIMVISOR_SEED=0x2a cargo test -p shop --test money -- --exact orders::are_paid"
        );
        assert_eq!(
            command(Target::Lib, Harness::Nextest),
            "SIMVISOR_SEED=0x2a cargo nextest run -p shop --lib -E 'test(=orders::are_paid)'"
        );
        assert_eq!(
            command(Target::Program("/a b/money".into()), Harness::Cargo),
            "SIMVISOR_SEED=0x2a '/a b/money' --exact orders::are_paid"
        );
    }

    #[test]
    fn targets_are_told_by_source_and_program() {
        let of =
            |file: &str, program: &str| target(Path::new(file), Path::new(program), None, Some("my-shop"));
        let hash = "0123456789abcdef";
        assert_eq!(of("tests/money.rs", &format!("/t/money-{hash}")), Target::Test("money".to_owned()));
        assert_eq!(of("shop/tests/a/main.rs", &format!("/t/a-{hash}")), Target::Test("a".to_owned()));
        assert_eq!(of("src/orders.rs", &format!("/t/my_shop-{hash}")), Target::Lib);
        assert_eq!(of("src/main.rs", &format!("/t/my_shop-{hash}")), Target::Bin("my-shop".to_owned()));
        assert_eq!(of("src/bin/till.rs", &format!("/t/till-{hash}")), Target::Bin("till".to_owned()));
        assert_eq!(of("examples/e.rs", &format!("/t/e-{hash}")), Target::Example("e".to_owned()));
        assert_eq!(of("tests/money.rs", "/t/money"), Target::Program("/t/money".into()));
        let unknown = target(Path::new("tests/a.rs"), Path::new("/t/a-0123456789abcdef"), None, None);
        assert_eq!(unknown, Target::Program("/t/a-0123456789abcdef".into()), "no package to name");
    }

    #[test]
    fn a_test_without_a_thread_is_named_by_its_arguments_or_its_closure() {
        let arguments = |list: &[&str]| exact_argument(list.iter().map(|&text| text.to_owned()));
        assert_eq!(arguments(&["/t/a", "--exact", "m::t", "--nocapture"]), Some("m::t".to_owned()));
        assert_eq!(arguments(&["/t/a", "m::t", "--test-threads=1"]), None, "a filter is no name");
        assert_eq!(arguments(&["/t/a", "--exact", "m::t", "n::t"]), None, "several names are none");
        assert_eq!(name_of_closure("shop::orders::are_paid::{{closure}}"), "orders::are_paid");
        assert_eq!(name_of_closure("shop::body"), "body");
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("a::b-1/c.json"), "a::b-1/c.json");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn this_test_is_found_with_its_source() {
        let caller = Caller::of::<()>(Location::caller());
        assert!(
            caller.test.ends_with("check::place::tests::this_test_is_found_with_its_source"),
            "{}",
            caller.test
        );
        let (shown, found) = caller.regressions();
        assert!(shown.ends_with("check/simvisor-regressions/place"), "{shown:?}");
        let source = found.parent().and_then(Path::parent).expect("a directory").join("place.rs");
        assert!(source.is_file(), "{source:?}");
    }
}
