"""The shared library from Python, by the header as it stands: cffi, or ctypes where that is missing.

    use_pool.py LIBRARY DECLARATIONS

DECLARATIONS is the header as the C preprocessor leaves it, without what it includes.
"""

import json
import sys


def with_cffi(library, declarations):
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(declarations)
    lib = ffi.dlopen(library)
    text = lambda pointer: ffi.string(pointer).decode()

    process = lib.cenote_account_root(b"process")
    worker = lib.cenote_account_child(process, b"python")
    assert lib.cenote_account_set_limit(worker, 64 << 10) == lib.CENOTE_OK

    options = ffi.new("cenote_pool_options_t *")
    options.size = ffi.sizeof("cenote_pool_options_t")
    name = ffi.new("char[]", b"request")
    options.name, options.account, options.first_block = name, worker, 1024
    pool = lib.cenote_pool_create_with(options)
    assert pool != ffi.NULL, text(lib.cenote_last_error())

    numbers = ffi.cast("uint64_t *", lib.cenote_pool_calloc(pool, 10, 8))
    assert list(ffi.unpack(numbers, 10)) == [0] * 10
    for i in range(10):
        numbers[i] = i * i
    copy = lib.cenote_pool_strdup(pool, "gr\u00fc\u00df dich".encode())
    assert text(copy) == "gr\u00fc\u00df dich"
    assert list(ffi.unpack(numbers, 10)) == [i * i for i in range(10)]

    called = []

    @ffi.callback("void(void *)")
    def cleanup(data):
        called.append(int(ffi.cast("uintptr_t", data)))

    for number in (1, 2, 3):
        assert lib.cenote_pool_cleanup_add(pool, cleanup, ffi.cast("void *", number)) != 0

    assert lib.cenote_pool_alloc(pool, 1 << 20) == ffi.NULL
    assert lib.cenote_last_status() == lib.CENOTE_ERR_LIMIT
    assert "process/python is at its limit of 65536 bytes" in text(lib.cenote_last_error())

    pieces = []

    @ffi.callback("int(void *, const char *, size_t)")
    def write(data, start, length):
        pieces.append(ffi.buffer(start, length)[:].decode())
        return 0

    assert lib.cenote_snapshot_json_to(process, write, ffi.NULL) == 0
    accounts = json.loads("".join(pieces))
    assert accounts["schema"] == 1
    root, child = accounts["accounts"]
    assert root["path"] == ["process"] and child["path"] == ["process", "python"]
    assert child["live"] == 1 and child["held_bytes"] == 1024 and child["refused"] == 1
    assert set(child) == {
        "path", "live", "created", "held_bytes", "used_bytes", "peak_bytes", "limit_bytes",
        "refused", "blocks", "large", "cleanups", "created_at",
    }
    size = lib.cenote_snapshot_json(pool, ffi.NULL, 0)
    buffer = ffi.new("char[]", size + 1)
    assert lib.cenote_snapshot_json(pool, buffer, size + 1) == size
    snapshot = json.loads(text(buffer))
    assert snapshot["name"] == "request" and snapshot["cleanups"] == 3
    assert snapshot["blocks"][0]["size"] == 1024

    assert lib.cenote_pool_destroy(pool) == lib.CENOTE_OK
    assert called == [3, 2, 1]
    assert lib.cenote_set_misuse_policy(lib.CENOTE_MISUSE_RETURN) == lib.CENOTE_MISUSE_ABORT
    assert lib.cenote_pool_destroy(pool) == lib.CENOTE_ERR_HANDLE
    assert lib.cenote_account_held(process) == 0
    lib.cenote_account_destroy(worker)
    lib.cenote_account_destroy(process)
    print("cffi", ffi.__class__.__module__)


def with_ctypes(library):
    import ctypes as c

    lib = c.CDLL(library)
    lib.cenote_pool_create.restype = c.c_void_p
    lib.cenote_pool_alloc.restype = c.c_void_p
    lib.cenote_pool_alloc.argtypes = [c.c_void_p, c.c_size_t]
    lib.cenote_pool_destroy.argtypes = [c.c_void_p]
    lib.cenote_snapshot_json.restype = c.c_size_t
    lib.cenote_snapshot_json.argtypes = [c.c_void_p, c.c_char_p, c.c_size_t]
    lib.cenote_last_error.restype = c.c_char_p
    pool = lib.cenote_pool_create()
    memory = lib.cenote_pool_alloc(pool, 100)
    assert pool and memory and memory % 16 == 0
    c.memset(memory, 7, 100)
    assert c.string_at(memory, 100) == b"\7" * 100
    assert lib.cenote_pool_alloc(pool, -1) is None
    assert b"no object can have" in lib.cenote_last_error()
    buffer = c.create_string_buffer(10000)
    assert lib.cenote_snapshot_json(pool, buffer, 10000) > 0
    assert json.loads(buffer.value)["used_bytes"] == 112
    assert lib.cenote_pool_destroy(pool) == 0
    print("ctypes")


if __name__ == "__main__":
    library, declarations = sys.argv[1:3]
    try:
        import cffi
    except ImportError:
        with_ctypes(library)
    else:
        with_cffi(library, open(declarations).read())
