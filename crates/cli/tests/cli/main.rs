//! `desumnet` as people use it.

mod command_line;
mod manual;
mod packaging;
mod summarise;
mod teach;
mod torchscript;
mod watch_command;
mod watch_half_hour;
