//! How the program ends: its exit codes, and what it says when it cannot do what was asked.

use std::io::Write as _;
use std::process::ExitCode;

use simvisor_sim::page::Unwritten;

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing was found.
    Clean = 0,
    /// A violation was found.
    Violation = 1,
    /// Bad usage or input.
    BadInput = 2,
    /// The engine itself is at fault.
    EngineFault = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not be carried out, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// What was given cannot be used.
    Input(String),
    /// The engine is at fault.
    Engine(String),
}

impl From<Unwritten> for Trouble {
    fn from(error: Unwritten) -> Self {
        Self::Input(error.to_string())
    }
}

impl Trouble {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Input(_) => Exit::BadInput,
            Self::Engine(_) => Exit::EngineFault,
        }
    }

    /// Says so on stderr.
    pub(crate) fn tell(&self) {
        let (Self::Input(text) | Self::Engine(text)) = self;
        let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let red = anstyle::AnsiColor::Red.on_default().bold();
        // With stderr gone there is nobody left to tell.
        let _ = writeln!(anstream::stderr(), "{red}error:{red:#} {line}");
    }
}
