//! Configuration: files and environment become [`settings::Settings`], or a list of every mistake with its place.

pub mod settings;
