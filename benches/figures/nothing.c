/* What starting a program costs at least. */
int main(void) { return 0; }
