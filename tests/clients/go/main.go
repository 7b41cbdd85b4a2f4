// The clients of Go that Debian has, go-redis (version 5) and redigo, against Kivi: pools shared by goroutines, pipelines,
// WATCH, scripts, pub/sub with patterns, blocking reads, scans. Prints `ok`; any deviation is a panic.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "gopkg.in/redis.v5"
)

const patience = 60 * time.Second

func check(what string, good bool) {
	if !good {
		panic("wrong: " + what)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// eventually waits until the probe says that it is so.
func eventually(what string, probe func() bool) {
	for deadline := time.Now().Add(patience); !probe(); time.Sleep(3 * time.Millisecond) {
		check("did not happen: "+what, time.Now().Before(deadline))
	}
}

// parallel runs work(0), work(1), ... in as many goroutines, and waits for them.
func parallel(count int, work func(int)) {
	var group sync.WaitGroup
	for index := 0; index < count; index++ {
		group.Add(1)
		go func(index int) {
			defer group.Done()
			work(index)
		}(index)
	}
	group.Wait()
}

func goRedis(address, network string) {
	client := goredis.NewClient(&goredis.Options{
		Network: network, Addr: address, PoolSize: 5, PoolTimeout: patience, ReadTimeout: patience,
	})
	defer client.Close()
	must(client.FlushAll().Err())
	parallel(20, func(index int) {
		for turn := 0; turn < 30; turn++ {
			key := fmt.Sprintf("k:%d:%d", index, turn)
			must(client.Set(key, turn, time.Minute).Err())
			found, err := client.Get(key).Int64()
			must(err)
			check("its own value", found == int64(turn))
			replies, err := client.TxPipelined(func(pipe *goredis.Pipeline) error {
				pipe.Incr("sum")
				pipe.HSet("hash", key, turn)
				return nil
			})
			must(err)
			check("two replies", len(replies) == 2)
		}
	})
	sum, err := client.Get("sum").Int64()
	must(err)
	check("no increment is lost", sum == 600)
	check("all fields", len(client.HGetAll("hash").Val()) == 600)
	check("nil", client.Get("none").Err() == goredis.Nil)
	check("an error", client.LPush("sum", 1).Err() != nil)
	optimistic(client)
	script := goredis.NewScript("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
	for turn := int64(1); turn <= 2; turn++ {
		reply, err := script.Run(client, []string{"scripted"}, 5).Result()
		must(err)
		check("a script", reply.([]interface{})[1] == 5*turn)
		must(client.ScriptFlush().Err())
	}
	keys, scan := 0, client.Scan(0, "k:*", 50).Iterator()
	for ; scan.Next(); keys++ {
	}
	must(scan.Err())
	check("a scan", keys == 600)
	must(client.ZAdd("zset", goredis.Z{Score: 2.5, Member: "b"}, goredis.Z{Score: 1, Member: "a"}).Err())
	ranked := client.ZRangeWithScores("zset", 0, -1).Val()
	check("a sorted set", len(ranked) == 2 && ranked[1] == goredis.Z{Score: 2.5, Member: "b"})
	goRedisMessages(client)
}

func optimistic(client *goredis.Client) {
	parallel(4, func(int) {
		for done := 0; done < 20; {
			err := client.Watch(func(tx *goredis.Tx) error {
				value, err := tx.Get("watched").Int64()
				if err != nil && err != goredis.Nil {
					return err
				}
				_, err = tx.Pipelined(func(pipe *goredis.Pipeline) error {
					pipe.Set("watched", value+1, 0)
					return nil
				})
				return err
			}, "watched")
			if err == nil {
				done++
			} else if err != goredis.TxFailedErr {
				panic(err)
			}
		}
	})
	value, err := client.Get("watched").Int64()
	must(err)
	check("WATCH", value == 80)
}

func goRedisMessages(client *goredis.Client) {
	news, err := client.Subscribe("news")
	must(err)
	defer news.Close()
	patterns, err := client.PSubscribe("new*")
	must(err)
	defer patterns.Close()
	eventually("both listen", func() bool { return client.Publish("news", "first").Val() == 2 })
	for _, subscriber := range []*goredis.PubSub{news, patterns} {
		for message, err := subscriber.ReceiveMessage(); message.Payload != "first" || err != nil; message, err = subscriber.ReceiveMessage() {
			must(err)
		}
	}
	for number := 0; number < 50; number++ {
		check("two hear it", client.Publish("news", strconv.Itoa(number)).Val() == 2)
	}
	// The first ones may be of the attempts to find both listening.
	for _, subscriber := range []*goredis.PubSub{news, patterns} {
		for number := 0; number < 50; {
			message, err := subscriber.ReceiveMessage()
			must(err)
			if message.Payload == "first" {
				continue
			}
			check("messages in order", message.Payload == strconv.Itoa(number))
			number++
		}
	}
}

func redigo(network, address string) {
	pool := &redis.Pool{
		MaxActive: 5, MaxIdle: 5, Wait: true,
		Dial: func() (redis.Conn, error) { return redis.Dial(network, address) },
	}
	defer pool.Close()
	one := pool.Get()
	defer one.Close()
	_, err := one.Do("FLUSHALL")
	must(err)
	parallel(10, func(index int) {
		for turn := 0; turn < 30; turn++ {
			func() {
				conn := pool.Get()
				defer conn.Close()
				must(conn.Send("MULTI"))
				must(conn.Send("INCR", "sum"))
				must(conn.Send("SADD", "set", fmt.Sprintf("%d:%d", index, turn)))
				replies, err := redis.Values(conn.Do("EXEC"))
				must(err)
				check("two replies", len(replies) == 2 && replies[1] == int64(1))
			}()
		}
	})
	size, err := redis.Int(one.Do("SCARD", "set"))
	must(err)
	check("all members", size == 300)
	for number := 0; number < 5000; number++ {
		must(one.Send("ECHO", number))
	}
	must(one.Flush())
	for number := 0; number < 5000; number++ {
		found, err := redis.Int(one.Receive())
		must(err)
		check("a pipeline", found == number)
	}
	script := redis.NewScript(1, "return redis.call('APPEND', KEYS[1], ARGV[1])")
	length, err := redis.Int(script.Do(one, "text", "abc"))
	must(err)
	check("a script", length == 3)
	_, err = redis.Int(one.Do("INCR", "text"))
	check("an error", err != nil)
	redigoWaits(pool, one)
	redigoMessages(pool, one)
}

func redigoWaits(pool *redis.Pool, one redis.Conn) {
	found := make([]int, 4)
	go func() {
		for number := range found {
			_, err := one.Do("RPUSH", []string{"a", "b"}[number%2], number)
			must(err)
		}
	}()
	parallel(len(found), func(index int) {
		conn := pool.Get()
		defer conn.Close()
		reply, err := redis.Strings(conn.Do("BLPOP", "a", "b", 0))
		must(err)
		found[index], err = strconv.Atoi(reply[1])
		must(err)
	})
	sort.Ints(found)
	check("each got one", fmt.Sprint(found) == "[0 1 2 3]")
}

func redigoMessages(pool *redis.Pool, one redis.Conn) {
	subscriber := redis.PubSubConn{Conn: pool.Get()}
	defer subscriber.Close()
	must(subscriber.Subscribe("news"))
	must(subscriber.PSubscribe("n*"))
	for count := 0; count < 2; count++ {
		_, good := subscriber.Receive().(redis.Subscription)
		check("a subscription", good)
	}
	for number := 0; number < 20; number++ {
		receivers, err := redis.Int(one.Do("PUBLISH", "news", number))
		must(err)
		check("two hear it", receivers == 2)
		for _, pattern := range []string{"", "n*"} {
			message, good := subscriber.Receive().(redis.Message)
			check("a message", good && message.Pattern == pattern && string(message.Data) == strconv.Itoa(number))
		}
	}
	must(subscriber.Unsubscribe())
	must(subscriber.PUnsubscribe())
}

func main() {
	address := "127.0.0.1:" + os.Getenv("SERVER_PORT")
	goRedis(address, "tcp")
	goRedis(os.Getenv("SERVER_SOCKET"), "unix")
	redigo("tcp", address)
	redigo("unix", os.Getenv("SERVER_SOCKET"))
	fmt.Println("ok")
}
