// hiredis's asynchronous interface on poll(2): what hiredis's own test.c takes from adapters/poll.h, which the Python
// package that the sources are taken from leaves out.
//
// One turn (`redisPollTick`) waits for one context at most so many seconds and handles what has come. A context may be
// freed by its own callbacks, so what the turn needs is kept until nobody is in it any more.
#ifndef KIVI_ADAPTERS_POLL_H
#define KIVI_ADAPTERS_POLL_H

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/time.h>

#include "async.h"

typedef struct redisPollEvents {
    redisAsyncContext *context;
    int fd, reading, writing, in_turn, ended;
    double deadline;
} redisPollEvents;

static double redisPollNow(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

static void redisPollAddRead(void *data) { ((redisPollEvents *)data)->reading = 1; }
static void redisPollDelRead(void *data) { ((redisPollEvents *)data)->reading = 0; }
static void redisPollAddWrite(void *data) { ((redisPollEvents *)data)->writing = 1; }
static void redisPollDelWrite(void *data) { ((redisPollEvents *)data)->writing = 0; }
static void redisPollTimer(void *data, struct timeval after) {
    ((redisPollEvents *)data)->deadline = redisPollNow() + (double)after.tv_sec + (double)after.tv_usec / 1e6;
}
static void redisPollCleanup(void *data) {
    redisPollEvents *events = data;
    events->ended = 1;
    if (!events->in_turn) free(events);
}

static int redisPollAttach(redisAsyncContext *context) {
    redisPollEvents *events = calloc(1, sizeof *events);
    if (events == NULL || context->ev.data != NULL) {
        free(events);
        return REDIS_ERR;
    }
    events->context = context;
    events->fd = context->c.fd;
    context->ev.data = events;
    context->ev.addRead = redisPollAddRead;
    context->ev.delRead = redisPollDelRead;
    context->ev.addWrite = redisPollAddWrite;
    context->ev.delWrite = redisPollDelWrite;
    context->ev.scheduleTimer = redisPollTimer;
    context->ev.cleanup = redisPollCleanup;
    return REDIS_OK;
}

// Returns how many kinds of events were handled.
static int redisPollTick(redisAsyncContext *context, double seconds) {
    redisPollEvents *events = context->ev.data;
    if (events == NULL) return 0;
    struct pollfd fd = {.fd = events->fd};
    if (events->reading) fd.events |= POLLIN;
    if (events->writing) fd.events |= POLLOUT;
    if (fd.events == 0) return 0;
    int handled = 0;
    events->in_turn = 1;
    if (poll(&fd, 1, (int)lround(seconds * 1000)) > 0) {
        if (events->reading && (fd.revents & (POLLIN | POLLHUP | POLLERR))) {
            redisAsyncHandleRead(context);
            handled++;
        }
        if (!events->ended && events->writing && (fd.revents & (POLLOUT | POLLHUP | POLLERR))) {
            redisAsyncHandleWrite(context);
            handled++;
        }
    }
    if (!events->ended && events->deadline > 0 && redisPollNow() >= events->deadline) {
        events->deadline = 0;
        redisAsyncHandleTimeout(context);
        handled++;
    }
    events->in_turn = 0;
    if (events->ended) free(events);
    return handled;
}

#endif
