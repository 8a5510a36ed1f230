// Is let in by the unmodified golang.org/x/oauth2: device flow, authorization code with PKCE, refresh, revocation.
//
//	judge ISSUER
//
// Prints `approve CODE` and `open URL` for somebody with a browser to do it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
)

type metadata struct {
	AuthorizationEndpoint       string `json:"authorization_endpoint"`
	TokenEndpoint               string `json:"token_endpoint"`
	DeviceAuthorizationEndpoint string `json:"device_authorization_endpoint"`
	RevocationEndpoint          string `json:"revocation_endpoint"`
}

type judge struct {
	issuer string
	server metadata
	ctx    context.Context
}

func main() {
	log.SetFlags(log.Lshortfile)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	judge := judge{issuer: os.Args[1], ctx: ctx}
	judge.discover()
	// The usual way, which first tries a header with an empty secret, and one that knows what the server wants.
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInParams} {
		config := judge.config(style)
		judge.tokens(config, judge.byDevice(config))
		config = judge.config(style)
		judge.tokens(config, judge.byCode(config))
	}
}

func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func (j *judge) discover() {
	answer, err := http.Get(j.issuer + "/.well-known/oauth-authorization-server")
	must(err)
	defer answer.Body.Close()
	must(json.NewDecoder(answer.Body).Decode(&j.server))
}

func (j *judge) config(style oauth2.AuthStyle) *oauth2.Config {
	return &oauth2.Config{
		ClientID: "ckrv-cli",
		Scopes:   []string{"read", "run"},
		Endpoint: oauth2.Endpoint{
			AuthURL:       j.server.AuthorizationEndpoint,
			TokenURL:      j.server.TokenEndpoint,
			DeviceAuthURL: j.server.DeviceAuthorizationEndpoint,
			AuthStyle:     style,
		},
	}
}

func (j *judge) byDevice(config *oauth2.Config) *oauth2.Token {
	asked, err := config.DeviceAuth(j.ctx, oauth2.SetAuthURLParam("host", "x/oauth2"))
	must(err)
	fmt.Println("approve", asked.UserCode)
	token, err := config.DeviceAccessToken(j.ctx, asked)
	must(err)
	return token
}

func (j *judge) byCode(config *oauth2.Config) *oauth2.Token {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	config.RedirectURL = fmt.Sprintf("http://%s/callback", listener.Addr())
	returned := make(chan url.Values, 1)
	go http.Serve(listener, http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		returned <- request.URL.Query()
	}))
	verifier := oauth2.GenerateVerifier()
	fmt.Println("open", config.AuthCodeURL("of the judge", oauth2.S256ChallengeOption(verifier)))
	var back url.Values
	select {
	case back = <-returned:
	case <-j.ctx.Done():
		must(j.ctx.Err())
	}
	if back.Get("state") != "of the judge" || back.Get("iss") != j.issuer {
		must(fmt.Errorf("not the answer to this request: %v", back))
	}
	token, err := config.Exchange(j.ctx, back.Get("code"), oauth2.VerifierOption(verifier))
	must(err)
	return token
}

// tokens uses a token as a program would whose token has expired, and gives it back.
func (j *judge) tokens(config *oauth2.Config, first *oauth2.Token) {
	j.knock(config, first)
	expired := *first
	expired.Expiry = time.Now().Add(-time.Minute)
	second, err := config.TokenSource(j.ctx, &expired).Token()
	must(err)
	if second.RefreshToken == first.RefreshToken {
		must(errors.New("the refresh token is not rotated"))
	}
	j.knock(config, second)

	// The package knows nothing of RFC 7009.
	form := url.Values{"client_id": {config.ClientID}, "token": {second.RefreshToken}}
	answer, err := http.PostForm(j.server.RevocationEndpoint, form)
	must(err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		must(fmt.Errorf("not revoked: %s", answer.Status))
	}
	second.Expiry = expired.Expiry
	_, err = config.TokenSource(j.ctx, second).Token()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
		must(fmt.Errorf("after it was revoked: %v", err))
	}
}

func (j *judge) knock(config *oauth2.Config, token *oauth2.Token) {
	answer, err := config.Client(j.ctx, token).Get(j.issuer + "/v1/whoami")
	must(err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		must(errors.New(answer.Status))
	}
}
