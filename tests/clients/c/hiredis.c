// hiredis against Kivi: formatted and binary-safe commands, long pipelines, both protocols with every type of reply, pushes,
// timeouts, reconnecting, large values in both directions, and the asynchronous interface with pub/sub on poll(2).
//
//     hiredis PORT SOCKET         prints `ok`, or what is wrong, and exit code 1
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "adapters/poll.h"
#include "async.h"
#include "hiredis.h"

#define CHECK(what, condition)                                          \
    do {                                                                \
        if (!(condition)) {                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, what, #condition); \
            exit(1);                                                    \
        }                                                               \
    } while (0)

static const struct timeval patience = {60, 0};

static redisContext *open_tcp(int port) {
    redisContext *c = redisConnectWithTimeout("127.0.0.1", port, patience);
    CHECK("connect", c != NULL && c->err == 0);
    CHECK("timeout", redisSetTimeout(c, patience) == REDIS_OK);
    return c;
}

// Runs a command that must not fail in the connection; the caller frees the reply.
static redisReply *run(redisContext *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(c, format, arguments);
    va_end(arguments);
    if (reply == NULL) fprintf(stderr, "%s: %s\n", format, c->errstr);
    CHECK(format, reply != NULL);
    return reply;
}

static void is_status(redisReply *reply, const char *text) {
    CHECK(text, reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, text) == 0);
    freeReplyObject(reply);
}

static void is_integer(redisReply *reply, long long wanted) {
    CHECK("an integer", reply->type == REDIS_REPLY_INTEGER && reply->integer == wanted);
    freeReplyObject(reply);
}

static void is_string(redisReply *reply, const char *bytes, size_t length) {
    CHECK("a string", reply->type == REDIS_REPLY_STRING && reply->len == length);
    CHECK("its bytes", memcmp(reply->str, bytes, length) == 0);
    freeReplyObject(reply);
}

static void is_error(redisReply *reply, const char *prefix) {
    CHECK(prefix, reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, prefix, strlen(prefix)) == 0);
    freeReplyObject(reply);
}

static void plain(redisContext *c) {
    is_status(run(c, "SET %s %b", "binary", "a\0\r\nb", (size_t)5), "OK");
    is_string(run(c, "GET binary"), "a\0\r\nb", 5);
    is_integer(run(c, "APPEND %b %b", "k\0y", (size_t)3, "", (size_t)0), 0);
    redisReply *none = run(c, "GET none");
    CHECK("nil", none->type == REDIS_REPLY_NIL);
    freeReplyObject(none);
    is_error(run(c, "LPUSH binary x"), "WRONGTYPE");
    is_error(run(c, "NOSUCH"), "ERR unknown command");
    const char *words[] = {"HSET", "hash", "field one", "value\none"};
    size_t lengths[] = {4, 4, 9, 9};
    is_integer(redisCommandArgv(c, 4, words, lengths), 1);
}

static void pipelines(redisContext *c) {
    enum { COUNT = 20000 };
    is_integer(run(c, "DEL counter"), 0);
    for (int number = 0; number < COUNT; number++) {
        CHECK("append", redisAppendCommand(c, "INCR counter") == REDIS_OK);
        CHECK("append", redisAppendCommand(c, "ECHO %d", number) == REDIS_OK);
    }
    for (int number = 0; number < COUNT; number++) {
        void *reply = NULL;
        char text[16];
        CHECK("reply", redisGetReply(c, &reply) == REDIS_OK);
        is_integer(reply, number + 1);
        CHECK("reply", redisGetReply(c, &reply) == REDIS_OK);
        is_string(reply, text, (size_t)snprintf(text, sizeof text, "%d", number));
    }
    is_status(run(c, "MULTI"), "OK");
    is_status(run(c, "INCR counter"), "QUEUED");
    is_status(run(c, "LPUSH counter x"), "QUEUED");
    redisReply *done = run(c, "EXEC");
    CHECK("EXEC", done->type == REDIS_REPLY_ARRAY && done->elements == 2);
    CHECK("its first", done->element[0]->integer == COUNT + 1);
    CHECK("its second", done->element[1]->type == REDIS_REPLY_ERROR);
    freeReplyObject(done);
}

static void large(redisContext *c) {
    size_t length = 64u << 20;
    char *bytes = malloc(length);
    CHECK("memory", bytes != NULL);
    for (size_t at = 0; at < length; at++) bytes[at] = (char)(at * 31 >> 3);
    is_status(run(c, "SET large %b", bytes, length), "OK");
    is_string(run(c, "GET large"), bytes, length);
    is_integer(run(c, "DEL large"), 1);
    free(bytes);
}

// Every type of RESP3, as DEBUG PROTOCOL gives them and as commands do.
static void resp3(redisContext *c) {
    redisReply *hello = run(c, "HELLO 3");
    CHECK("HELLO", hello->type == REDIS_REPLY_MAP && hello->elements >= 12);
    freeReplyObject(hello);
    redisReply *hash = run(c, "HGETALL hash");
    CHECK("a map", hash->type == REDIS_REPLY_MAP && hash->elements == 2);
    freeReplyObject(hash);
    static const struct { const char *name; int type; } types[] = {
        {"string", REDIS_REPLY_STRING}, {"integer", REDIS_REPLY_INTEGER}, {"double", REDIS_REPLY_DOUBLE},
        {"null", REDIS_REPLY_NIL},      {"array", REDIS_REPLY_ARRAY},     {"set", REDIS_REPLY_SET},
        {"map", REDIS_REPLY_MAP},       {"verbatim", REDIS_REPLY_VERB},   {"bignum", REDIS_REPLY_BIGNUM},
        {"true", REDIS_REPLY_BOOL},     {"false", REDIS_REPLY_BOOL},
    };
    for (size_t at = 0; at < sizeof types / sizeof *types; at++) {
        redisReply *reply = run(c, "DEBUG PROTOCOL %s", types[at].name);
        CHECK(types[at].name, reply->type == types[at].type);
        freeReplyObject(reply);
    }
    is_integer(run(c, "ZADD zset 1.5 a inf b"), 2);
    redisReply *score = run(c, "ZSCORE zset a");
    CHECK("a double", score->type == REDIS_REPLY_DOUBLE && score->dval == 1.5);
    freeReplyObject(score);
    is_status(run(c, "RESET"), "RESET");
}

static int pushes;
static void on_push(void *data, void *reply) {
    redisReply *push = reply;
    (void)data;
    if (push->type == REDIS_REPLY_PUSH && push->elements == 2 && strcmp(push->element[0]->str, "invalidate") == 0) pushes++;
    freeReplyObject(push);
}

static void invalidations(redisContext *c, redisContext *other) {
    redisSetPushCallback(c, on_push);
    freeReplyObject(run(c, "HELLO 3"));
    is_status(run(c, "CLIENT TRACKING ON"), "OK");
    for (int turn = 1; turn <= 10; turn++) {
        freeReplyObject(run(c, "GET tracked"));
        is_status(run(other, "SET tracked %d", turn), "OK");
        // What was there to be told stands in front of the next reply at the latest.
        is_status(run(c, "PING"), "PONG");
        CHECK("an invalidation", pushes == turn);
    }
    is_status(run(c, "RESET"), "RESET");
}

static void endings(redisContext *c, redisContext *other) {
    redisReply *id = run(c, "CLIENT ID");
    is_integer(run(other, "CLIENT KILL ID %lld", id->integer), 1);
    freeReplyObject(id);
    CHECK("it was killed", redisCommand(c, "PING") == NULL && (c->err == REDIS_ERR_EOF || c->err == REDIS_ERR_IO));
    CHECK("again", redisReconnect(c) == REDIS_OK);
    is_status(run(c, "PING"), "PONG");
    struct timeval short_time = {0, 20000};
    CHECK("timeout", redisSetTimeout(c, short_time) == REDIS_OK);
    CHECK("it times out", redisCommand(c, "BLPOP never 0") == NULL && c->err == REDIS_ERR_IO && errno == EAGAIN);
    CHECK("again", redisReconnect(c) == REDIS_OK && redisSetTimeout(c, patience) == REDIS_OK);
    is_status(run(c, "QUIT"), "OK");
    CHECK("it has quit", redisCommand(c, "PING") == NULL);
}

// ---- the asynchronous interface ----

static int answered, heard, subscribed;
static void on_reply(redisAsyncContext *c, void *reply, void *data) {
    (void)c;
    redisReply *one = reply;
    CHECK("replies in order", one != NULL && one->integer == (long)data && answered + 1 == one->integer);
    answered++;
}
static void on_message(redisAsyncContext *c, void *reply, void *data) {
    (void)c;
    (void)data;
    redisReply *one = reply;
    if (one == NULL) return;
    CHECK("a message", one->type == REDIS_REPLY_ARRAY || one->type == REDIS_REPLY_PUSH);
    if (strcmp(one->element[0]->str, "subscribe") == 0) subscribed = 1;
    if (strcmp(one->element[0]->str, "message") == 0) {
        CHECK("messages in order", atoi(one->element[2]->str) == heard);
        heard++;
    }
}
static void on_publish(redisAsyncContext *c, void *reply, void *data) {
    (void)c;
    (void)data;
    CHECK("one subscriber", reply != NULL && ((redisReply *)reply)->integer == 1);
}

// Goes on until the counter has come so far.
static void turns(redisAsyncContext *worker, redisAsyncContext *subscriber, const int *counter, int wanted) {
    double deadline = redisPollNow() + 60;
    while (*counter < wanted) {
        redisPollTick(worker, 0.001);
        redisPollTick(subscriber, 0.001);
        CHECK("something happens", redisPollNow() < deadline);
    }
}

static void asynchronous(int port) {
    redisAsyncContext *worker = redisAsyncConnect("127.0.0.1", port);
    redisAsyncContext *subscriber = redisAsyncConnect("127.0.0.1", port);
    CHECK("connect", worker != NULL && subscriber != NULL && worker->err == 0 && subscriber->err == 0);
    CHECK("attach", redisPollAttach(worker) == REDIS_OK && redisPollAttach(subscriber) == REDIS_OK);
    redisAsyncCommand(worker, NULL, NULL, "DEL async");
    for (long number = 1; number <= 5000; number++) {
        CHECK("send", redisAsyncCommand(worker, on_reply, (void *)number, "INCR async") == REDIS_OK);
    }
    CHECK("send", redisAsyncCommand(subscriber, on_message, NULL, "SUBSCRIBE news") == REDIS_OK);
    turns(worker, subscriber, &answered, 5000);
    turns(worker, subscriber, &subscribed, 1);
    for (int number = 0; number < 500; number++) {
        CHECK("send", redisAsyncCommand(worker, on_publish, NULL, "PUBLISH news %d", number) == REDIS_OK);
    }
    turns(worker, subscriber, &heard, 500);
    redisAsyncFree(worker);
    redisAsyncFree(subscriber);
}

int main(int argc, char **argv) {
    CHECK("arguments", argc == 3);
    int port = atoi(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    redisContext *tcp = open_tcp(port), *other = open_tcp(port);
    redisContext *local = redisConnectUnix(argv[2]);
    CHECK("the socket", local != NULL && local->err == 0 && redisSetTimeout(local, patience) == REDIS_OK);
    redisContext *both[] = {tcp, local};
    for (int at = 0; at < 2; at++) {
        redisContext *c = both[at];
        pushes = 0;
        is_status(run(c, "FLUSHALL"), "OK");
        plain(c);
        pipelines(c);
        large(c);
        resp3(c);
        invalidations(c, other);
        endings(c, other);
        redisFree(c);
    }
    asynchronous(port);
    redisFree(other);
    puts("ok");
    return 0;
}
