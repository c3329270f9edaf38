/* cenote_buddy_*: what the header says of them. */
#include "check.h"

static void blocks_split_and_merge(void)
{
    cenote_buddy_t *buddy = cenote_buddy_create(1 << 20);
    CHECK(buddy != NULL);
    CHECK_SIZE(cenote_buddy_page(buddy), 4096);
    CHECK_SIZE(cenote_buddy_bytes(buddy), 1 << 20);
    CHECK_SIZE(cenote_buddy_largest_free(buddy), 1 << 20);
    char *small = cenote_buddy_alloc(buddy, 100), *large = cenote_buddy_alloc(buddy, 100000);
    CHECK(small != NULL && is_aligned(large, 131072));
    CHECK_SIZE(cenote_buddy_capacity(buddy, small), 4096);
    CHECK_SIZE(cenote_buddy_capacity(buddy, large), 131072);
    CHECK_SIZE(cenote_buddy_capacity(buddy, large + 1), 0);
    CHECK_SIZE(cenote_buddy_capacity(buddy, NULL), 0);
    memset(small, 1, 100);
    memset(large, 2, 100000);
    CHECK(is_filled(small, 1, 100));
    CHECK_SIZE(cenote_buddy_used(buddy), 4096 + 131072);
    CHECK_NONE(cenote_buddy_alloc(buddy, 1 << 20), CENOTE_ERR_MEMORY);
    CHECK_STATUS(cenote_buddy_free(buddy, small), CENOTE_OK);
    CHECK_STATUS(cenote_buddy_free(buddy, large), CENOTE_OK);
    CHECK_STATUS(cenote_buddy_free(buddy, NULL), CENOTE_OK);
    /* What is in quarantine is not free before it is needed: then all of it is. */
    char *all = cenote_buddy_alloc(buddy, 1 << 20);
    CHECK(all != NULL);
    CHECK_STATUS(cenote_buddy_free(buddy, all), CENOTE_OK);
    CHECK_STATUS(cenote_buddy_destroy(buddy), CENOTE_OK);
}

static void a_region_may_be_the_programs_own(void)
{
    static char region[100000];
    cenote_buddy_options_t options = CENOTE_BUDDY_OPTIONS_INIT;
    options.region = region;
    options.page = 64;
    options.largest_block = 4096;
    options.name = "static";
    cenote_buddy_t *buddy = cenote_buddy_create_with(sizeof region, &options);
    CHECK(buddy != NULL);
    size_t blocks = 0;
    for (char *block; (block = cenote_buddy_alloc(buddy, 1)) != NULL; blocks++) {
        CHECK(block >= region && block + 64 <= region + sizeof region && is_aligned(block, 64));
        memset(block, 3, 1);
    }
    CHECK_SIZE(blocks * 64, cenote_buddy_bytes(buddy));
    CHECK_SIZE(cenote_buddy_used(buddy), cenote_buddy_bytes(buddy));
    CHECK_STATUS(cenote_buddy_destroy(buddy), CENOTE_OK);
    memset(region, 0, sizeof region);
}

static void what_cannot_be_is_refused(void)
{
    cenote_buddy_options_t options = CENOTE_BUDDY_OPTIONS_INIT;
    CHECK_NONE(cenote_buddy_create(0), CENOTE_ERR_CONFIG);
    CHECK_NONE(cenote_buddy_create(SIZE_MAX), CENOTE_ERR_CONFIG);
    options.page = 100;
    CHECK_NONE(cenote_buddy_create_with(1 << 20, &options), CENOTE_ERR_CONFIG);
    options.page = 4096;
    static char region[1000];
    options.region = region;
    CHECK_NONE(cenote_buddy_create_with(sizeof region, &options), CENOTE_ERR_CONFIG);
    CHECK_NONE(cenote_buddy_create_with(SIZE_MAX, &options), CENOTE_ERR_CONFIG);
    CHECK_NONE(cenote_buddy_create_with(PTRDIFF_MAX + (size_t)1, &options), CENOTE_ERR_CONFIG);

    cenote_account_t *account = cenote_account_root("tiles");
    cenote_account_set_limit(account, 65536);
    cenote_buddy_options_t charged = CENOTE_BUDDY_OPTIONS_INIT;
    charged.account = account;
    CHECK_NONE(cenote_buddy_create_with(1 << 20, &charged), CENOTE_ERR_LIMIT);
    cenote_buddy_t *buddy = cenote_buddy_create_with(32768, &charged);
    CHECK(buddy != NULL && cenote_account_held(account) >= 32768);
    cenote_buddy_destroy(buddy);
    CHECK_SIZE(cenote_account_held(account), 0);
    cenote_account_destroy(account);
}

int main(void)
{
    blocks_split_and_merge();
    a_region_may_be_the_programs_own();
    what_cannot_be_is_refused();
    return 0;
}
