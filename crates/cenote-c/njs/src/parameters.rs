//! The sizes of a pool, as njs gives them. Which are refused is for `ChunkPoolConfig` to say,
//! whose rules are njs's; here is only how wrong ones are mended for `njs_mp_fast_create`.

#![forbid(unsafe_code)]

/// The largest page there can be, in bytes; larger ones would be no use either, since objects
/// of 4 GiB are refused.
const MOST: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) cluster_size: usize,
    pub(crate) page_alignment: usize,
    pub(crate) page_size: usize,
    pub(crate) min_chunk_size: usize,
}

impl Parameters {
    /// The nearest sizes that keep all rules.
    pub(crate) fn mended(self) -> Self {
        let power = |size: usize, least: usize, most: usize| {
            size.clamp(least, most).next_power_of_two().min(most)
        };
        let page_size = power(self.page_size, 64, MOST);
        let pages = self.cluster_size.div_ceil(page_size).clamp(1, 256);
        Self {
            cluster_size: pages * page_size,
            page_alignment: power(self.page_alignment, 16, page_size),
            page_size,
            min_chunk_size: power(self.min_chunk_size, page_size / 32, page_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(c: usize, a: usize, p: usize, m: usize) -> Parameters {
        Parameters { cluster_size: c, page_alignment: a, page_size: p, min_chunk_size: m }
    }

    #[test]
    fn sizes_that_keep_the_rules_are_taken_as_they_are() {
        for good in [sizes(8192, 128, 512, 16), sizes(12288, 4096, 4096, 128), sizes(64, 16, 64, 2)]
        {
            assert_eq!(good.mended(), good);
        }
    }

    #[test]
    fn each_size_is_mended_by_its_own_rule() {
        let mended = |c, a, p, m| sizes(c, a, p, m).mended();
        assert_eq!(mended(8193, 128, 512, 16), sizes(8704, 128, 512, 16));
        assert_eq!(mended(1 << 20, 128, 512, 16), sizes(256 * 512, 128, 512, 16));
        assert_eq!(mended(8192, 100, 500, 10), sizes(8192, 128, 512, 16));
        assert_eq!(mended(8192, 8, 512, 16), sizes(8192, 16, 512, 16));
        assert_eq!(mended(8192, 1024, 512, 16), sizes(8192, 512, 512, 16));
        assert_eq!(mended(8192, 128, 512, 1024), sizes(8192, 128, 512, 512));
        assert_eq!(mended(8192, 128, 4096, 16), sizes(8192, 128, 4096, 128));
        assert_eq!(mended(0, 0, 0, 0), sizes(64, 16, 64, 2));
        let most = usize::MAX;
        assert_eq!(mended(most, most, most, most), sizes(256 * MOST, MOST, MOST, MOST));
    }
}
