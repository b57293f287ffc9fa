//! Bugs that were planted in the core: each must be found within a stated number of seeds.
