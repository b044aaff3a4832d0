/* A plugin for QEMU (TCG plugins, version 1 of their interface): counts how often each instruction is executed, and
 * how often another than the next in memory follows it, which is a branch that is taken.
 *
 * The functions that it takes from QEMU are declared here, so that it compiles without QEMU's headers. At the end it
 * writes a line for each address below 1 MiB to the file that the argument names: address in hexadecimal, both counts.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

int qemu_plugin_version = 1;
static struct { uint64_t count, taken; size_t size; } seen[1 << 19]; /* an instruction begins at an even address */
static size_t previous;
static char path[4096];

static void executed(unsigned processor, void *place)
{
    const size_t here = (size_t)place;

    (void)processor;
    seen[previous].taken += here != previous + seen[previous].size / 2;
    ++seen[here].count;
    previous = here;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        const uint64_t place = qemu_plugin_insn_vaddr(instruction) / 2;
        if (place < sizeof seen / sizeof seen[0]) {
            seen[place].size = qemu_plugin_insn_size(instruction);
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, 0, (void *)(size_t)place);
        }
    }
}

static void finish(qemu_plugin_id_t id, void *data)
{
    FILE *file = fopen(path, "w");

    (void)id;
    (void)data;
    if (!file)
        return;
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; ++i)
        if (seen[i].count)
            fprintf(file, "%lx %llu %llu\n", (unsigned long)(2 * i), (unsigned long long)seen[i].count,
                    (unsigned long long)seen[i].taken);
    fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "counts=", 7) || strlen(argv[0]) >= sizeof path)
        return 1;
    strcpy(path, argv[0] + 7);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
