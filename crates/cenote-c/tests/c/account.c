/* cenote_account_*, and the snapshots of everything. */
#include "check.h"

static void accounts_charge_and_refuse(void)
{
    cenote_account_t *process = cenote_account_root("process");
    cenote_account_t *worker = cenote_account_child(process, "worker-0");
    cenote_account_t *shared = cenote_account_shared_child(process, "shared");
    CHECK(process != NULL && worker != NULL && shared != NULL);
    CHECK_SIZE(cenote_account_limit(worker), CENOTE_NO_LIMIT);
    CHECK_STATUS(cenote_account_set_limit(worker, 65536), CENOTE_OK);
    CHECK_SIZE(cenote_account_limit(worker), 65536);

    cenote_pool_t *pool = cenote_pool_create_on(worker);
    cenote_counted_t *counted = cenote_counted_create_on(worker);
    cenote_chunk_t *chunk = cenote_chunk_create_on(shared);
    CHECK_SIZE(cenote_account_live(worker), 2);
    CHECK(cenote_pool_alloc(pool, 100) != NULL && cenote_counted_alloc(counted, 100) != NULL);
    CHECK(cenote_chunk_alloc(chunk, 100) != NULL);
    CHECK_SIZE(cenote_account_held(worker), 8192);
    CHECK_SIZE(cenote_account_held(shared), 65536);
    CHECK_SIZE(cenote_account_held(process), 65536 + 8192);

    CHECK_NONE(cenote_pool_alloc(pool, 65536), CENOTE_ERR_LIMIT);
    CHECK(strstr(cenote_last_error(), "process/worker-0") != NULL);
    CHECK(strstr(cenote_last_error(), "65536") != NULL);
    CHECK_SIZE(cenote_account_refused(worker), 1);
    CHECK_NONE(cenote_counted_alloc(counted, 65536), CENOTE_ERR_LIMIT);
    CHECK_STATUS(cenote_account_set_limit(shared, 65536), CENOTE_OK);
    CHECK_NONE(cenote_chunk_alloc(chunk, 4000), CENOTE_ERR_LIMIT);
    CHECK_SIZE(cenote_account_refused(shared), 1);
    for (int i = 0; i < 1000; i++)
        cenote_chunk_alloc(chunk, 1000);
    CHECK_STATUS(cenote_last_status(), CENOTE_ERR_LIMIT);
    /* Nothing else has changed. */
    CHECK(cenote_pool_alloc(pool, 100) != NULL);
    CHECK_SIZE(cenote_account_held(worker), 8192);

    /* The handle goes, the account stays as long as there is a pool. */
    CHECK_STATUS(cenote_account_destroy(worker), CENOTE_OK);
    CHECK(cenote_pool_alloc(pool, 10000) != NULL);
    CHECK(cenote_account_held(process) > 65536 + 8192);
    cenote_pool_destroy(pool);
    cenote_counted_destroy(counted);
    cenote_chunk_destroy(chunk);
    cenote_thread_trim();
    CHECK_SIZE(cenote_account_held(process), 0);
    CHECK_SIZE(cenote_account_created(shared), 1);
    CHECK(cenote_account_peak(shared) >= 65536);
    CHECK_STATUS(cenote_account_destroy(shared), CENOTE_OK);
    CHECK_STATUS(cenote_account_destroy(process), CENOTE_OK);
    CHECK_STATUS(cenote_account_destroy(NULL), CENOTE_OK);

    CHECK_NONE(cenote_account_root(NULL), CENOTE_ERR_CONFIG);
    CHECK_NONE(cenote_account_child(NULL, "orphan"), CENOTE_ERR_HANDLE);
    CHECK_NONE(cenote_pool_create_on(NULL), CENOTE_ERR_HANDLE);
}

struct text {
    char bytes[20000];
    size_t length;
    int answer;
};

static int collect(void *data, const char *bytes, size_t length)
{
    struct text *text = data;
    CHECK(text->length + length < sizeof text->bytes);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    return text->answer;
}

/* All four ways give the same, and it says this. */
static void shows(const void *handle, const char *in_text, const char *in_json)
{
    static struct text told;
    static char all[20000], part[20000];
    size_t length = cenote_snapshot_text(handle, NULL, 0);
    CHECK(length > 0);
    CHECK_SIZE(cenote_snapshot_text(handle, all, sizeof all), length);
    CHECK_SIZE(strlen(all), length);
    CHECK(strstr(all, in_text) != NULL);
    told.length = 0;
    CHECK_STATUS(cenote_snapshot_text_to(handle, collect, &told), CENOTE_OK);
    CHECK(strcmp(told.bytes, all) == 0);

    length = cenote_snapshot_json(handle, all, sizeof all);
    CHECK_SIZE(strlen(all), length);
    printf("%s\n", all);
    CHECK(strstr(all, in_json) != NULL);
    told.length = 0;
    CHECK_STATUS(cenote_snapshot_json_to(handle, collect, &told), CENOTE_OK);
    CHECK(strcmp(told.bytes, all) == 0);

    /* A buffer of any size has the beginning, an end, and nothing behind that. */
    for (size_t size = 1; size < 100; size++) {
        memset(part, '~', sizeof part);
        CHECK_SIZE(cenote_snapshot_json(handle, part, size), length);
        /* Characters are whole; the longest here has three bytes. */
        size_t there = strlen(part);
        CHECK(there <= size - 1 && there + 3 > size - 1 && strncmp(part, all, there) == 0);
        CHECK(part[size] == '~');
    }
    CHECK_SIZE(cenote_snapshot_json(handle, part, length), length);
    CHECK_SIZE(strlen(part), length - 1);

    told.length = 0;
    told.answer = 3;
    CHECK_STATUS(cenote_snapshot_json_to(handle, collect, &told), CENOTE_ERR_STOPPED);
    told.answer = 0;
    CHECK_STATUS(cenote_snapshot_json_to(handle, NULL, NULL), CENOTE_ERR_CONFIG);
}

static void snapshots_show_what_there_is(void)
{
    cenote_account_t *process = cenote_account_root("process");
    cenote_account_t *request = cenote_account_child(process, "request \"\\\n\303\244");
    cenote_account_set_limit(request, 1 << 20);
    cenote_pool_options_t options = CENOTE_POOL_OPTIONS_INIT;
    options.name = "named \377";
    options.account = request;
    cenote_pool_t *pool = cenote_pool_create_with(&options);
    cenote_pool_alloc(pool, 104);
    cenote_pool_alloc(pool, 100000);
    cenote_pool_strdup(pool, "secret");
    shows(pool, "named \357\277\275: ", GAP ? "\"used\":120" : "\"used\":112");
    shows(process, "request", "{\"schema\":1,\"accounts\":[{\"path\":[\"process\"],\"live\":0,");
    static char json[20000];
    cenote_snapshot_json(process, json, sizeof json);
    CHECK(strstr(json, "\"path\":[\"process\",\"request \\\"\\\\\\n\303\244\"],\"live\":1,\"created\":1,") != NULL);
    CHECK(strstr(json, "\"limit_bytes\":1048576,\"refused\":0,\"blocks\":null") != NULL);
    CHECK(strstr(json, "\"created_at\":\"C\"}") != NULL && strstr(json, ".rs") == NULL);
    cenote_snapshot_json(pool, json, sizeof json);
    CHECK(strstr(json, "secret") == NULL && strstr(json, ".rs") == NULL);

    cenote_counted_t *counted = cenote_counted_create();
    cenote_counted_alloc(counted, 100);
    shows(counted, "1 references", "\"references\":1");
    cenote_chunk_t *chunk = cenote_chunk_create();
    cenote_chunk_alloc(chunk, 100);
    shows(chunk, "1 objects", "\"clusters\":[");
    cenote_buddy_t *buddy = cenote_buddy_create(65536);
    cenote_buddy_alloc(buddy, 100);
    shows(buddy, "4096 B used", "\"used_bytes\":4096");
    CHECK_SIZE(cenote_snapshot_text(NULL, json, sizeof json), 0);
    CHECK_STATUS(cenote_last_status(), CENOTE_ERR_HANDLE);
    CHECK(json[0] == '\0');
    CHECK_STATUS(cenote_snapshot_text_to(NULL, collect, NULL), CENOTE_ERR_HANDLE);

    cenote_buddy_destroy(buddy);
    cenote_chunk_destroy(chunk);
    cenote_counted_destroy(counted);
    cenote_pool_destroy(pool);
    cenote_account_destroy(request);
    cenote_account_destroy(process);
}

int main(void)
{
    accounts_charge_and_refuse();
    snapshots_show_what_there_is();
    CHECK(strcmp(cenote_version(), "0.1.0") == 0);
    return 0;
}
