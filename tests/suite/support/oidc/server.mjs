// The real oidc-provider as an authorization server with the device flow, at the paths where Microsoft's stand.
//
// Not a test by itself: `mod.rs` beside it starts it with one last argument, a JSON object:
//   tenant         the path segment before `oauth2/v2.0`
//   client, scopes who may ask, and for what
//   device_ttl, access_ttl, refresh_ttl   seconds
// It prints `listening http://127.0.0.1:PORT`, then obeys lines on standard input, each answered by one line:
//   approve CODE LOGIN   a person enters the code, signs in and consents
//   decline CODE         a person enters the code and refuses
// Both go through the pages that a person sees. `refused WORD` tells each refusal of the token endpoint. It ends with its standard input.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const wanted = JSON.parse(process.argv.at(-1));
const server = createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const base = `http://127.0.0.1:${server.address().port}`;
const microsoft = `/${wanted.tenant}/oauth2/v2.0`;

const provider = new Provider(base, {
  clients: [{
    client_id: wanted.client,
    client_name: 'pertuis',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    response_types: [],
    redirect_uris: [],
  }],
  scopes: ['openid', 'offline_access', 'profile', 'email', ...wanted.scopes],
  claims: { openid: ['sub', 'oid', 'tid'], profile: ['preferred_username', 'name'], email: ['email'] },
  conformIdTokenClaims: false,
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  routes: { device_authorization: `${microsoft}/devicecode`, token: `${microsoft}/token` },
  rotateRefreshToken: true,
  // as Microsoft does: whoever asked for offline_access gets one
  issueRefreshToken: (_context, client, code) =>
    client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  ttl: {
    DeviceCode: wanted.device_ttl,
    AccessToken: wanted.access_ttl,
    RefreshToken: wanted.refresh_ttl,
    IdToken: 3600,
    Interaction: 600,
    Session: 600,
    Grant: 86400,
  },
  cookies: { keys: ['test'] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, email: id, name: id, oid: `oid-of-${id}`, tid: wanted.tenant }),
  }),
});
// `.default`: all that was consented to. Microsoft's word; in the standard it is said by no scope at all.
provider.use(async (context, next) => {
  if (context.method === 'POST' && context.path === `${microsoft}/token`) {
    let text = '';
    for await (const piece of context.req) text += piece;
    const fields = new URLSearchParams(text);
    if (/\/\.default( |$)/.test(fields.get('scope') ?? '')) fields.delete('scope');
    context.req.body = Object.fromEntries(fields);
  }
  await next();
});
server.on('request', provider.callback());

// A browser as far as these pages need one: cookies, redirects, the fields of forms.
class Browser {
  cookies = new Map();

  async go(url, form) {
    for (let hops = 0; hops < 20; hops += 1) {
      const answer = await fetch(url, {
        method: form ? 'POST' : 'GET',
        body: form && new URLSearchParams(form),
        headers: { cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
        redirect: 'manual',
      });
      for (const cookie of answer.headers.getSetCookie()) this.keep(cookie);
      const next = answer.headers.get('location');
      if (!next) return { url, status: answer.status, text: await answer.text() };
      [url, form] = [new URL(next, url).href, undefined];
    }
    throw new Error(`redirected for ever: ${url}`);
  }

  keep(cookie) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
    if (value) this.cookies.set(name, value);
    else this.cookies.delete(name);
  }

  // Sends the form of a page with its hidden fields and `more`.
  submit(page, more) {
    const action = /<form[^>]* action="([^"]+)"/.exec(page.text);
    if (!action) throw new Error(`no form: HTTP ${page.status} ${page.text}`);
    const hidden = [...page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)];
    const fields = Object.fromEntries(hidden.map(([, name, value]) => [name, value]));
    return this.go(new URL(action[1], page.url).href, { ...fields, ...more });
  }
}

async function enter(code) {
  const browser = new Browser();
  const first = await browser.go(`${base}/device`);
  return [browser, await browser.submit(first, { user_code: code })];
}

async function approve(code, login) {
  const [browser, asked] = await enter(code);
  let page = await browser.submit(asked, { confirm: 'yes' });
  page = await browser.submit(page, { login, password: 'any' });
  page = await browser.submit(page, {});
  if (!/Sign-in Success/i.test(page.text)) throw new Error(`HTTP ${page.status} ${page.text}`);
}

async function decline(code) {
  const [browser, asked] = await enter(code);
  await browser.submit(asked, { abort: 'yes' });
}

// each refusal of the token endpoint is told: that somebody asks before there is an answer can be waited for
provider.on('grant.error', (_, error) => console.log(`refused ${error.error}`));
console.log(`listening ${base}`);
const deeds = { approve, decline };
for await (const line of createInterface({ input: process.stdin })) {
  const [deed, ...words] = line.split(' ');
  try {
    await deeds[deed](...words);
    console.log(`done ${line}`);
  } catch (error) {
    console.log(`failed ${line}: ${String(error.message).replaceAll('\n', ' ')}`);
  }
}
process.exit(0);
