//! Global allocator: jemalloc, tuned to return freed pages quickly.
//!
//! A replay allocates in bursts and a training allocates more at once, but most of a service's life needs little memory.
//! glibc keeps freed memory for the next burst; jemalloc returns it to the system a second later, from a background
//! thread. The tuning is part of the build: `JEMALLOC_SYS_WITH_MALLOC_CONF` in `.cargo/config.toml`. Linked C code such
//! as libxgboost uses the same allocator.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
