/* A plugin for QEMU (TCG plugins, version 1 of their interface): counts how often each instruction is executed.
 *
 * The functions that it takes from QEMU are declared here, so that it compiles without QEMU's headers. At the end it
 * writes a line for each address below 1 MiB to the file that the argument names: address in hexadecimal, count.
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
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

int qemu_plugin_version = 1;
static uint64_t counts[1 << 19]; /* an instruction begins at an even address */
static char path[4096];

static void executed(unsigned processor, void *count)
{
    (void)processor;
    ++*(uint64_t *)count;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        const uint64_t place = qemu_plugin_insn_vaddr(instruction) / 2;
        if (place < sizeof counts / sizeof counts[0])
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, 0, &counts[place]);
    }
}

static void finish(qemu_plugin_id_t id, void *data)
{
    FILE *file = fopen(path, "w");

    (void)id;
    (void)data;
    if (!file)
        return;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; ++i)
        if (counts[i])
            fprintf(file, "%lx %llu\n", (unsigned long)(2 * i), (unsigned long long)counts[i]);
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
