/* What the parts of file_calls share: each prints what calls answer, one line each. */
#ifndef FILE_CALLS_H
#define FILE_CALLS_H
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

extern char** environ;
extern char self[PATH_MAX];  /* this program */
extern char top[PATH_MAX];   /* the folder that it was given */
extern FILE* out;

/* "LINE name = value" or the error. */
#define SAY(call) say(__LINE__, #call, (long)(call))
#define SAY_NULL(call) say(__LINE__, #call, (call) == NULL ? -1 : 0)
#define SAY_TEXT(text) say_text(__LINE__, text)
/* What is in a file. */
#define SHOW(path) show(__LINE__, path)
long say(int line, const char* what, long value);
void say_text(int line, const char* text);
void show(int line, const char* path);

void opening(void);
void numbers(void);
void streams(void);
void directories(void);
void names(void);
void mapping(void);
void passing(void);
void threads(void);
void locks(void);
#endif
