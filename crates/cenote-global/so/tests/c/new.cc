// new and delete in all forms, with and without memory. Compiled and run by ../programs.rs.
#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

struct alignas(256) Wide {
    char bytes[300];
};

static int handled = 0;
static volatile std::size_t most = SIZE_MAX / 2;

int main() {
    delete new int(3);
    delete[] new int[100];
    delete new (std::nothrow) int;
    delete[] new (std::nothrow) int[100];
    Wide *wide = new Wide;
    assert(reinterpret_cast<std::uintptr_t>(wide) % 256 == 0);
    delete wide;
    delete[] new Wide[10];
    delete new (std::nothrow) Wide;

    bool thrown = false;
    try {
        delete[] new char[most];
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    assert(thrown);
    assert(new (std::nothrow) char[most] == nullptr);
    std::set_new_handler([] {
        if (++handled == 3)
            std::set_new_handler(nullptr);
    });
    assert(new (std::nothrow) char[most] == nullptr);
    assert(handled == 3);

    std::vector<std::thread> threads;
    for (int number = 0; number < 4; number++)
        threads.emplace_back([] {
            std::map<std::string, std::string> map;
            for (int key = 0; key < 20000; key++)
                map[std::to_string(key * 7919 % 5000)] = std::string(key % 300, 'x');
            assert(map.size() == 5000);
        });
    for (auto &thread : threads)
        thread.join();
    std::puts("new: ok");
}
