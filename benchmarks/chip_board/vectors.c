/* The first two words that a Cortex-M reads: the stack's end and where to begin. */
extern char stack_top;
extern void _start(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {&stack_top, (const void *)_start};
