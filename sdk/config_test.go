package sdk

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/sdk/wire"
)

type level string

type everything struct {
	Text     string            `walplex:"text,required" format:"path" doc:"a text"`
	Level    level             `walplex:"level" default:"low"`
	Flag     bool              `walplex:"flag" default:"true"`
	Count    int               `walplex:"count" default:"-7"`
	Size     int64             `walplex:"size" format:"bytes" default:"16MiB"`
	Ratio    float64           `walplex:"ratio" default:"0.5"`
	Every    time.Duration     `walplex:"every" default:"90s"`
	List     []string          `walplex:"list"`
	Map      map[string]string `walplex:"map"`
	Secret   string            `walplex:"secret,sensitive"`
	Both     string            `walplex:"both,required,sensitive"`
	One      route             `walplex:"one" doc:"exactly one"`
	Maybe    *route            `walplex:"maybe"`
	Many     []route           `walplex:"many"`
	Untagged chan int
	private  int
}

type route struct {
	To    string `walplex:"to,required"`
	Via   []hop  `walplex:"via"`
	Delay int    `walplex:"delay" default:"3"`
}

type hop struct {
	Name string `walplex:"name"`
}

func TestConfigSchema(t *testing.T) {
	got, err := ConfigSchema(reflect.TypeFor[everything]())
	if err != nil {
		t.Fatal(err)
	}
	inner := &wire.Schema{
		Attributes: []*wire.Attribute{
			{Name: "to", TypeJson: []byte(`"string"`), Required: true},
			{Name: "delay", TypeJson: []byte(`"number"`), DefaultJson: []byte(`3`)},
		},
		Blocks: []*wire.NestedBlock{{Name: "via", Schema: &wire.Schema{Attributes: []*wire.Attribute{{Name: "name", TypeJson: []byte(`"string"`)}}}}},
	}
	want := &wire.Schema{
		Attributes: []*wire.Attribute{
			{Name: "text", TypeJson: []byte(`"string"`), Required: true, Format: "path", Description: "a text"},
			{Name: "level", TypeJson: []byte(`"string"`), DefaultJson: []byte(`"low"`)},
			{Name: "flag", TypeJson: []byte(`"bool"`), DefaultJson: []byte(`true`)},
			{Name: "count", TypeJson: []byte(`"number"`), DefaultJson: []byte(`-7`)},
			{Name: "size", TypeJson: []byte(`"number"`), Format: "bytes", DefaultJson: []byte(`16777216`)},
			{Name: "ratio", TypeJson: []byte(`"number"`), DefaultJson: []byte(`0.5`)},
			{Name: "every", TypeJson: []byte(`"string"`), Format: "duration", DefaultJson: []byte(`"90s"`)},
			{Name: "list", TypeJson: []byte(`["list","string"]`)},
			{Name: "map", TypeJson: []byte(`["map","string"]`)},
			{Name: "secret", TypeJson: []byte(`"string"`), Sensitive: true},
			{Name: "both", TypeJson: []byte(`"string"`), Required: true, Sensitive: true},
		},
		Blocks: []*wire.NestedBlock{
			{Name: "one", MinItems: 1, MaxItems: 1, Description: "exactly one", Schema: inner},
			{Name: "maybe", MaxItems: 1, Schema: inner},
			{Name: "many", Schema: inner},
		},
	}
	if !proto.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

type endless struct {
	Next *endless `walplex:"next"`
}

func TestConfigSchemaRefuses(t *testing.T) {
	for _, c := range []struct {
		config any
		reason string
	}{
		{3, "is a struct, not int"},
		{&everything{}, "is a struct, not *sdk.everything"},
		{struct {
			a string `walplex:"a"`
		}{}, "is exported"},
		{struct {
			A string `walplex:""`
		}{}, "begins with a name"},
		{struct {
			A string `walplex:",required"`
		}{}, "begins with a name"},
		{struct {
			A string `walplex:"a,requierd"`
		}{}, `unknown option "requierd"`},
		{struct {
			A hop `walplex:"a,required"`
		}{}, "a block has no options"},
		{struct {
			A string `walplex:"same"`
			B []hop  `walplex:"same"`
		}{}, `.B: "same" is the name of another field too`},
		{struct {
			A uint `walplex:"a"`
		}{}, "cannot hold uint"},
		{struct {
			A []int `walplex:"a"`
		}{}, "cannot hold []int"},
		{struct {
			A map[string]int `walplex:"a"`
		}{}, "cannot hold map[string]int"},
		{struct {
			A *string `walplex:"a"`
		}{}, "cannot hold *string"},
		{struct {
			A []struct {
				B any `walplex:"b"`
			} `walplex:"a"`
		}{}, "cannot hold interface {}"},
		{struct {
			A bool `walplex:"a" default:"perhaps"`
		}{}, `default "perhaps"`},
		{struct {
			A int `walplex:"a" default:"1.5"`
		}{}, `default "1.5"`},
		{struct {
			A int64 `walplex:"a" default:"0x10"`
		}{}, `default "0x10"`},
		{struct {
			A float64 `walplex:"a" default:"Inf"`
		}{}, `default "Inf"`},
		{struct {
			A float64 `walplex:"a" default:"half"`
		}{}, `default "half"`},
		{struct {
			A int64 `walplex:"a" format:"bytes" default:"1 furlong"`
		}{}, `default "1 furlong"`},
		{struct {
			A time.Duration `walplex:"a" default:"soon"`
		}{}, `default "soon"`},
		{struct {
			A []string `walplex:"a" default:"x"`
		}{}, "[]string has no default"},
		{endless{}, "more than 10 blocks inside each other"},
	} {
		_, err := ConfigSchema(reflect.TypeOf(c.config))
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%T: %v, want %q", c.config, err, c.reason)
		}
	}
}

func decode(t *testing.T, config string) *everything {
	t.Helper()
	c, err := decodeConfig(reflect.TypeFor[everything](), []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return c.(*everything)
}

func TestDecodeConfig(t *testing.T) {
	defaults := everything{Level: "low", Flag: true, Count: -7, Size: 16 << 20, Ratio: 0.5, Every: 90 * time.Second}
	full := everything{
		Text: "/x", Level: "high", Flag: false, Count: 1, Size: math.MaxInt64, Ratio: 1e-3, Every: 1500 * time.Millisecond,
		List: []string{"a", ""}, Map: map[string]string{"k": "v"}, Secret: "s", Both: "b",
		One:   route{To: "one", Delay: 3},
		Maybe: &route{To: "maybe", Delay: 4, Via: []hop{{"h1"}, {"h2"}}},
		Many:  []route{{To: "m1", Delay: 3}, {To: "m2", Delay: 3, Via: []hop{}}},
	}
	for _, c := range []struct {
		json string
		want everything
	}{
		{``, defaults},
		{`{}`, defaults},
		{`{"text":null,"level":null,"flag":null,"count":null,"size":null,"ratio":null,"every":null,"list":null,"map":null,"maybe":null,"many":null}`, defaults},
		{`{"text":"/x","level":"high","flag":false,"count":1,"size":9223372036854775807,"ratio":0.001,"every":"1.5s",
		   "list":["a",""],"map":{"k":"v"},"secret":"s","both":"b","of a newer host":1,
		   "one":{"to":"one"},"maybe":{"to":"maybe","delay":4,"via":[{"name":"h1"},{"name":"h2"}]},
		   "many":[{"to":"m1"},{"to":"m2","via":[]}]}`, full},
	} {
		if got := decode(t, c.json); !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s\nis %+v\nwant %+v", c.json, *got, c.want)
		}
	}
}

func TestDecodeConfigRefuses(t *testing.T) {
	for config, place := range map[string]string{
		`{`:                                  "",
		`[]`:                                 "",
		`{"text":1}`:                         "text: ",
		`{"flag":"yes"}`:                     "flag: ",
		`{"count":1.5}`:                      "count: ",
		`{"count":1e30}`:                     "count: ",
		`{"size":"16MiB"}`:                   "size: ",
		`{"every":90}`:                       "every: ",
		`{"every":"1 hour"}`:                 "every: ",
		`{"list":"a"}`:                       "list: ",
		`{"map":{"k":1}}`:                    "map: ",
		`{"one":[]}`:                         "one: ",
		`{"maybe":{"delay":""}}`:             "maybe: delay: ",
		`{"many":{}}`:                        "many: ",
		`{"many":[{},{"via":[{"name":1}]}]}`: "many: 1: via: 0: name: ",
	} {
		c, err := decodeConfig(reflect.TypeFor[everything](), []byte(config))
		if err == nil || !strings.Contains(err.Error(), "configuration from the host: "+place) {
			t.Errorf("%s gives %+v and %v, want an error at %q", config, c, err, place)
		}
	}
}

// What the host makes of defaults is what the sdk makes of them itself.
func TestDefaultsAgree(t *testing.T) {
	schema, err := ConfigSchema(reflect.TypeFor[everything]())
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]json.RawMessage{}
	for _, a := range schema.Attributes {
		if a.DefaultJson != nil {
			sent[a.Name] = a.DefaultJson
		}
	}
	b, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decode(t, string(b)), decode(t, "{}"); len(sent) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %+v, the sdk's own defaults are %+v", b, got, want)
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "512": 512, "512B": 512, "1kB": 1000, "3 MB": 3e6, "2GB": 2e9, "1TB": 1e12,
		"1KiB": 1024, "16MiB": 16 << 20, "16 MiB": 16 << 20, "5GiB": 5 << 30, "7TiB": 7 << 40,
		"9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		if got, err := ParseBytes(s); got != want || err != nil {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "+1", "1.5GiB", "1e3", "1mib", "1Mib", "1PB", "16MiBs", "0x10", " 1", "9223372036854775808", "8388608TiB", "９"} {
		if got, err := ParseBytes(s); err == nil || got != 0 {
			t.Errorf("%q is %d", s, got)
		}
	}
}

type picky struct {
	Name string `walplex:"name"`
}

func (p *picky) Validate() []ConfigError {
	switch p.Name {
	case "bad":
		return []ConfigError{
			{Path: []any{"route", 2, "name"}, Summary: "Bad name", Detail: "Choose another."},
			{Summary: "Odd", Detail: "It is allowed.", Warning: true},
		}
	case "odd":
		return []ConfigError{{Summary: "Odd", Detail: "It is allowed.", Warning: true}}
	}
	return nil
}

func TestValidate(t *testing.T) {
	made := 0
	d := Define("picky", func(c *picky) Sink { made++; return nil })
	_, got := d.validate([]byte(`{"name":"bad"}`))
	want := []*wire.Diagnostic{
		{Severity: wire.Diagnostic_ERROR, Summary: "Bad name", Detail: "Choose another.", Path: []*wire.PathStep{
			{Step: &wire.PathStep_Name{Name: "route"}}, {Step: &wire.PathStep_Index{Index: 2}}, {Step: &wire.PathStep_Name{Name: "name"}}}},
		{Severity: wire.Diagnostic_WARNING, Summary: "Odd", Detail: "It is allowed."},
	}
	if len(got) != len(want) || !proto.Equal(got[0], want[0]) || !proto.Equal(got[1], want[1]) {
		t.Errorf("got %v, want %v", got, want)
	}
	for config, ok := range map[string]bool{`{}`: true, `{"name":"odd"}`: true, `{"name":"bad"}`: false, `{"name":1}`: false, `nonsense`: false} {
		made = 0
		if _, err := d.NewSink([]byte(config)); (err == nil) != ok || (made == 1) != ok {
			t.Errorf("%s: %v, %d sinks made", config, err, made)
		}
	}
	if _, err := d.NewSink([]byte(`{"name":"bad"}`)); err == nil || err.Error() != "Bad name: Choose another." {
		t.Errorf("%v", err)
	}
}
