//! What scenarios stand on: a world of their own, the binary as a process, the engine's API, a test image.

mod api;
mod image;
mod leftovers;
mod process;
mod world;

pub(crate) use process::{Output, Process};
pub(crate) use world::{
    Engine, World, eventually, fetch, free_port, is_oracle, leave_out, pause, try_fetch,
};

/// Makes of each scenario two tests: `<name>::bundled` on hoist's own engine and `<name>::docker` on Docker.
macro_rules! both_engines {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn bundled() {
                $crate::support::World::run($crate::support::Engine::Bundled, super::$name);
            }

            #[test]
            fn docker() {
                $crate::support::World::run($crate::support::Engine::Docker, super::$name);
            }
        })+
    };
}

/// A scenario that only hoist's own engine can play.
macro_rules! bundled_engine {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn bundled() {
                $crate::support::World::run($crate::support::Engine::Bundled, super::$name);
            }
        })+
    };
}

/// A scenario about Docker itself.
macro_rules! docker_engine {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn docker() {
                $crate::support::World::run($crate::support::Engine::Docker, super::$name);
            }
        })+
    };
}

pub(crate) use {both_engines, bundled_engine, docker_engine};
