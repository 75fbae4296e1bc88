//! Who hands out memory.
//!
//! A replay takes memory in bursts, a training more of it at once, and most of a service's life needs little. glibc keeps
//! what is freed for the next burst; jemalloc gives it back to the system a second later, by a thread of its own. Its
//! settings are part of the build: `JEMALLOC_SYS_WITH_MALLOC_CONF` in `.cargo/config.toml`. It also serves what is linked
//! from C, as libxgboost is.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
