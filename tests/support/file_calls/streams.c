/* Streams. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_calls.h"

static void reading_and_writing(void) {
  char buffer[256] = "";
  FILE* file = fopen("s", "w");
  SAY(fprintf(file, "line %d\n", 1));
  SAY(fputs("line 2\n", file) >= 0);
  SAY(putc('3', file));
  SAY(fwrite("abcdefgh\n", 3, 3, file));
  SAY(ftell(file));
  SAY(fileno(file) > 2);
  SAY(fflush(file));
  SHOW("s");
  SAY(fseek(file, 5, SEEK_SET));
  SAY(fputc('X', file));
  SAY(getc(file));
  SAY(fclose(file));
  SHOW("s");
  file = fopen("s", "r");
  SAY_TEXT(fgets(buffer, sizeof(buffer), file));
  SAY(ungetc('u', file));
  SAY(getc(file));
  SAY(fread(buffer, 4, 10, file));
  SAY(feof(file) != 0);
  SAY(fseek(file, -3, SEEK_END));
  SAY(fread(buffer, 1, 10, file));
  rewind(file);
  char* line = NULL;
  size_t room = 0;
  SAY(getline(&line, &room, file));
  free(line);
  SAY(ftello(file));
  SAY(fputc('x', file));
  SAY(ferror(file) != 0);
  SAY(fclose(file));
  file = fopen("s", "a+");
  SAY(fprintf(file, "end\n"));
  SAY(fseek(file, 0, SEEK_SET));
  SAY_TEXT(fgets(buffer, sizeof(buffer), file));
  SAY(fclose(file));
  SHOW("s");
  file = fopen("s", "r+");
  SAY(fputs("LI", file) >= 0);
  SAY(fseek(file, 0, SEEK_CUR));
  SAY_TEXT(fgets(buffer, sizeof(buffer), file));
  fclose(file);
}

static void modes_and_numbers(void) {
  SAY_NULL(fopen("nothing", "r"));
  SAY_NULL(fopen("s", "wx"));
  SAY_NULL(fopen("s", "q"));
  SAY_NULL(fopen(".", "w"));
  int fd = open("s", O_RDWR);
  FILE* file = fdopen(fd, "r");
  int x = 0;
  SAY(fscanf(file, "LINE %d", &x));
  SAY(fscanf(file, "LIne %d", &x));
  SAY(fclose(file));
  SAY(close(fd));
  file = fopen("big", "w");
  for (int i = 0; i < 100000; ++i) fprintf(file, "%d\n", i);
  SAY(fclose(file));
  file = fopen("big", "r");
  long sum = 0;
  while (fscanf(file, "%d", &x) == 1) sum += x;
  SAY(sum);
  fclose(file);
}

static void standard_streams(void) {
  char buffer[256] = "";
  /* The standard streams, while they lead elsewhere. */
  fflush(stdout);
  int kept = dup(1);
  int fd = open("std", O_CREAT | O_WRONLY | O_TRUNC, 0644);
  dup2(fd, 1);
  close(fd);
  printf("printed %d\n", 1);
  puts("put");
  fflush(stdout);
  dup2(kept, 1);
  SHOW("std");
  pid_t child = fork();
  if (child == 0) {
    if (freopen("std", "a", stdout) == NULL) _exit(1);
    printf("reopened\n");
    exit(0); /* which flushes */
  }
  int status = 0;
  waitpid(child, &status, 0);
  SAY(status);
  SHOW("std");
  child = fork();
  if (child == 0) {
    if (freopen("std", "r", stdin) == NULL) _exit(1);
    if (fgets(buffer, sizeof(buffer), stdin) == NULL) _exit(2);
    _exit(strcmp(buffer, "printed 1\n") == 0 ? 0 : 3);
  }
  waitpid(child, &status, 0);
  SAY(status);
  close(kept);
}

void streams(void) {
  reading_and_writing();
  modes_and_numbers();
  standard_streams();
}
