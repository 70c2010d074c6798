// Tries ways to send something to another machine. test_walls.py replaces WAYS with pairs of code and address.
{
const settled = promise => Promise.race([promise, new Promise(done => setTimeout(done, 3000))])
const put = (tag, attributes, inside = '') => new Promise(done => {
    const each = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) each.setAttribute(name, value)
    each.innerHTML = inside
    each.onload = each.onerror = () => done(each)
    document.body.append(each)
    if (['a', 'form', 'div', 'style'].includes(tag)) done(each)
})
const frame = async attributes => (await put('iframe', attributes)).contentWindow
const send = at => `const tell = x => (self.parent ?? self).postMessage('${at}', ...(self.parent ? ['*'] : []));` +
    `fetch('http://${at}/', {mode: 'no-cors'}).then(tell, tell)`
const worker = code => {
    const made = new Worker(URL.createObjectURL(new Blob([code])))
    made.onmessage = ({data}) => window.postMessage(data)
}
const request = http => new Promise(done => {
    const each = new XMLHttpRequest()
    each.onloadend = done
    each.open('GET', http)
    each.send()
})
const rules = (action, http) =>
    put('script', {type: 'speculationrules'}, JSON.stringify({[action]: [{urls: [http], eagerness: 'immediate'}]}))
const page = code => URL.createObjectURL(new Blob([`<script>${code}<\/script>`], {type: 'text/html'}))
const identity = http =>
    navigator.credentials.get({identity: {providers: [{configURL: `${http}config.json`, clientId: 'x'}]}})
const rtc = async urls => {
    const connection = new RTCPeerConnection({iceServers: [{urls, username: "x", credential: "x"}]})
    connection.createDataChannel('x')
    await connection.setLocalDescription(await connection.createOffer())
    await new Promise(done => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && done()
    })
}
window.attempt = (code, at) => {
    const told = () => new Promise(done => addEventListener('message', ({data}) => data === at && done()))
    const refused = new Promise(done => document.addEventListener('securitypolicyviolation', ({blockedURI}) => {
        if (blockedURI.includes(at)) done()
    }))
    const names = {at, http: `http://${at}/`, SEND: send(at), told, put, frame, worker, request, rules, page, identity,
        rtc}
    const run = new Function(...Object.keys(names), `return (async () => ${code})()`)
    return settled(Promise.race([refused, run(...Object.values(names)).catch(error => String(error))]))
}
const ways = WAYS
Promise.all(ways.map(([code, at]) => attempt(code, at))).then(results => { window.tried = results })
}
